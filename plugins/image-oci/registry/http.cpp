#include "plugins/image-oci/registry/http.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/base/clock.h"
#include "core/base/utf8.h"

namespace rauha::oci {
namespace {

constexpr size_t kBodyBuffer = 1u << 20;
constexpr long kReceive = 256l << 10;
constexpr size_t kHeadMax = 64u << 10;
constexpr int kPollMs = 250;
constexpr long kConnectMs = 15'000;
// Only the daemon knows where this plugin runs.
constexpr const char* kConfined = " (with isolation = \"process\", [plugin.image-oci.process] of rauha.toml needs network = true)";

constexpr const char* kNeedsCertificate =
    "it does not accept this machine: a registry that wants a client certificate needs certificate and key under "
    "[plugin.image-oci.registry.\"HOST\"] of rauha.toml";

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

struct ListFree {
  void operator()(curl_slist* l) const noexcept { curl_slist_free_all(l); }
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// The connection ended before an answer.
bool isCut(CURLcode code) noexcept { return code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING; }

bool isTransient(CURLcode code) noexcept {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

}  // namespace

const std::string& HttpAnswer::header(const std::string& name) const {
  static const std::string kNone;
  const auto it = headers.find(name);
  return it == headers.end() ? kNone : it->second;
}

struct HttpSession::State {
  State(const RegistrySettings& s, const Watch& w) : settings(s), watch(w), multi(curl_multi_init()), easy(curl_easy_init()) {
    if (multi == nullptr || easy == nullptr) {
      if (easy != nullptr) curl_easy_cleanup(easy);
      if (multi != nullptr) curl_multi_cleanup(multi);
      throw Error("image", Code::limit, "out of memory for a connection to a registry");
    }
  }
  ~State() {
    detach();
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }

  void detach() noexcept {
    if (attached) curl_multi_remove_handle(multi, easy);
    attached = false;
  }

  template <typename T>
  void set(CURLoption option, T value) {
    if (const CURLcode code = curl_easy_setopt(easy, option, value); code != CURLE_OK)
      throw Error("image", Code::internal, std::string("libcurl: ") + curl_easy_strerror(code));
  }

  void prepare(const HttpRequest& request) {
    detach();
    curl_easy_reset(easy);  // keeps connections
    answer = {};
    filling.clear();
    reading.clear();
    headBytes = 0;
    headDone = done = paused = refusedNearer = false;
    result = CURLE_OK;
    message[0] = '\0';
    nearest = request.nearest;
    stop = request.stop;
    url = request.url;
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0l);
    set(CURLOPT_NOSIGNAL, 1l);
    set(CURLOPT_QUICK_EXIT, 1l);                                          // a cancelled call does not wait for DNS
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1l);                            // a proxy's answer is not the registry's
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));  // one request a connection: nothing to multiplex
    set(CURLOPT_CONNECTTIMEOUT_MS, std::min<long>(kConnectMs, static_cast<long>(settings.stallMs)));
    set(CURLOPT_USERAGENT, "rauha");
    set(CURLOPT_BUFFERSIZE, kReceive);
    set(CURLOPT_ERRORBUFFER, message);
    set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    set(CURLOPT_WRITEFUNCTION, &State::onBody);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &State::onHeader);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_OPENSOCKETFUNCTION, &State::onSocket);
    set(CURLOPT_OPENSOCKETDATA, this);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!settings.proxy.empty()) set(CURLOPT_PROXY, settings.proxy.c_str());
    if (!settings.noProxy.empty()) set(CURLOPT_NOPROXY, settings.noProxy.c_str());
    if (request.tls != nullptr) {
      // CURLOPT_CAPATH stays the system's: both are believed.
      if (!request.tls->ca.empty()) set(CURLOPT_CAINFO, request.tls->ca.c_str());
      if (!request.tls->certificate.empty()) set(CURLOPT_SSLCERT, request.tls->certificate.c_str());
      if (!request.tls->key.empty()) set(CURLOPT_SSLKEY, request.tls->key.c_str());
    }
    certificateGiven = request.tls != nullptr && !request.tls->certificate.empty();
    set(CURLOPT_SSL_CTX_FUNCTION, &State::onTls);
    set(CURLOPT_SSL_CTX_DATA, this);
    list.reset();
    const auto add = [&](const std::string& line) { list.reset(curl_slist_append(list.release(), line.c_str())); };
    if (!request.accept.empty()) add("Accept: " + request.accept);
    if (!request.authorization.empty()) add("Authorization: " + request.authorization);
    if (request.offset > 0) add("Range: bytes=" + std::to_string(request.offset) + "-");
    if (!request.form.empty()) {
      set(CURLOPT_COPYPOSTFIELDS, request.form.c_str());
    }
    if (list) set(CURLOPT_HTTPHEADER, list.get());
    if (const CURLMcode code = curl_multi_add_handle(multi, easy); code != CURLM_OK)
      throw Error("image", Code::internal, std::string("libcurl: ") + curl_multi_strerror(code));
    attached = true;
    lastNs = monotonicNs();
  }

  // One step: what has arrived is taken, then at most kPollMs for more.
  void step() {
    watch.mayGoOn();
    if (stop != nullptr && *stop) throw Error("image", Code::cancelled, "the rest is not needed");
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi, &running); code != CURLM_OK)
      throw Error("image", Code::internal, std::string("libcurl: ") + curl_multi_strerror(code));
    int left = 0;
    while (const CURLMsg* m = curl_multi_info_read(multi, &left))
      if (m->msg == CURLMSG_DONE) {
        done = true;
        result = m->data.result;
      }
    if (done || !filling.empty()) return;
    if (monotonicNs() - lastNs > int64_t{settings.stallMs} * 1'000'000)
      throw HttpFailure(Code::deadline, where() + ": nothing came for " + std::to_string(settings.stallMs / 1000) + " s", {}, true, false);
    curl_waitfd cancel{watch.cancelFd, CURL_WAIT_POLLIN, 0};
    curl_multi_poll(multi, &cancel, watch.cancelFd >= 0 ? 1 : 0, kPollMs, nullptr);
  }

  std::string where() const { return toUtf8(std::string_view(url).substr(0, std::min<size_t>(url.find('?'), 300))); }

  [[noreturn]] void fail() {
    if (refusedNearer)
      throw HttpFailure(
          Code::denied,
          where() + ": refused: it leads to an address that is nearer to this machine than the registry (" + toUtf8(nearAddress) + ")",
          "a registry must not send its clients into their own network; ask whoever runs it", false, false);
    if (headBytes > kHeadMax)
      throw HttpFailure(Code::limit, where() + ": the head of the answer is larger than " + std::to_string(kHeadMax) + " bytes", {}, false,
                        false);
    const std::string why = toUtf8(message[0] != '\0' ? message : curl_easy_strerror(result));
    std::string hint;
    Code code = Code::io;
    switch (result) {
      case CURLE_PEER_FAILED_VERIFICATION:
        code = Code::denied;
        hint = "add its authority: ca = \"/path/ca.pem\" under [plugin.image-oci.registry.\"HOST\"] of rauha.toml";
        break;
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
        code = Code::notFound;
        hint = "check the name and this machine's DNS; without network, copy the image: skopeo copy docker://… oci:DIR";
        hint += kConfined;
        break;
      case CURLE_COULDNT_CONNECT:
        hint = std::string("is the registry running, and reachable from this machine?") + kConfined;
        break;
      case CURLE_SSL_CERTPROBLEM:
      case CURLE_SSL_CACERT_BADFILE:
        code = Code::invalid;
        hint = "check ca, certificate and key of this registry in rauha.toml";
        break;
      default:
        break;
    }
    if (why.find(" alert ") != std::string::npos) {  // said by the other side, of this one: asking again changes nothing
      throw HttpFailure(Code::denied, where() + ": " + why, kNeedsCertificate, false, false);
    }
    if (certificateAsked && !certificateGiven && !headDone && isCut(result)) {
      // Its alert may come after the end of the connection was seen (TLS 1.3 refuses a client after the handshake).
      throw HttpFailure(Code::denied, where() + ": " + why + "; the registry asked for a client certificate, and there is none",
                        kNeedsCertificate, true, false);
    }
    const bool notTls = result == CURLE_SSL_CONNECT_ERROR && why.find("wrong version number") != std::string::npos;
    if (notTls) hint = "it speaks plain HTTP: insecure = true under [plugin.image-oci.registry.\"HOST\"] of rauha.toml allows that";
    throw HttpFailure(code, where() + ": " + why, std::move(hint), isTransient(result), notTls);
  }

  // A new connection's TLS.
  static CURLcode onTls(CURL*, void* context, void* self) noexcept {
    static_cast<State*>(self)->certificateAsked = false;
    SSL_CTX_set_cert_cb(static_cast<SSL_CTX*>(context), &State::onCertificateAsked, self);
    return CURLE_OK;
  }

  static int onCertificateAsked(SSL*, void* self) noexcept {
    static_cast<State*>(self)->certificateAsked = true;
    return 1;  // go on with what there is
  }

  static size_t onBody(char* data, size_t, size_t size, void* self) noexcept {
    auto* s = static_cast<State*>(self);
    if (s->filling.size() + size > kBodyBuffer) {
      s->paused = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    s->headDone = true;
    s->filling.append(data, size);
    s->lastNs = monotonicNs();
    return size;
  }

  static size_t onHeader(char* data, size_t, size_t size, void* self) noexcept {
    auto* s = static_cast<State*>(self);
    s->lastNs = monotonicNs();
    if ((s->headBytes += size) > kHeadMax) return 0;
    std::string_view line(data, size);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.substr(0, 5) == "HTTP/") {  // also of an interim answer, or a proxy's
      s->answer.headers.clear();
      return size;
    }
    if (line.empty()) {
      long status = 0;
      curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
      if (status >= 200) s->headDone = true;
      return size;
    }
    if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
      std::string_view value = line.substr(colon + 1);
      while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
      std::string& slot = s->answer.headers[lower(line.substr(0, colon))];
      if (!slot.empty()) slot += ", ";
      slot.append(value);
    }
    return size;
  }

  static curl_socket_t onSocket(void* self, curlsocktype, curl_sockaddr* address) noexcept {
    auto* s = static_cast<State*>(self);
    if (nearnessOf(address->addr) < s->nearest) {
      s->refusedNearer = true;
      s->nearAddress = "its host";
      return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  const RegistrySettings& settings;
  const Watch& watch;
  CURLM* multi;
  CURL* easy;
  std::unique_ptr<curl_slist, ListFree> list;
  bool attached = false, headDone = false, done = false, paused = false, refusedNearer = false;
  bool certificateGiven = false, certificateAsked = false;  // by the server of the last connection that was made
  CURLcode result = CURLE_OK;
  size_t headBytes = 0;
  int64_t lastNs = 0;
  Nearness nearest = Nearness::loopback;
  const std::atomic<bool>* stop = nullptr;
  std::string url, nearAddress, filling, reading;
  HttpAnswer answer;
  char message[CURL_ERROR_SIZE] = {};
};

HttpSession::HttpSession(const RegistrySettings& settings, const Watch& watch) {
  initialise();
  state_ = std::make_unique<State>(settings, watch);
}
HttpSession::~HttpSession() = default;

HttpAnswer HttpSession::send(const HttpRequest& request) {
  State& s = *state_;
  s.prepare(request);
  while (!s.headDone && !s.done) s.step();
  if (s.done && s.result != CURLE_OK && !s.headDone) s.fail();
  curl_easy_getinfo(s.easy, CURLINFO_RESPONSE_CODE, &s.answer.status);
  HttpAnswer out = s.answer;
  char* text = nullptr;
  if (curl_easy_getinfo(s.easy, CURLINFO_PRIMARY_IP, &text) == CURLE_OK && text != nullptr) out.address = text;
  if (nearnessOfText(out.address) < request.nearest) {  // over a connection that was open already
    s.refusedNearer = true;
    s.nearAddress = out.address;
    s.fail();
  }
  if (out.status >= 300 && out.status < 400) {  // libcurl makes the address whole at the end of the body
    readAll(kHeadMax, s.where() + ": the body of a redirect");
    text = nullptr;
    if (curl_easy_getinfo(s.easy, CURLINFO_REDIRECT_URL, &text) == CURLE_OK && text != nullptr) out.location = text;
  }
  return out;
}

std::string_view HttpSession::read() {
  State& s = *state_;
  s.reading.clear();
  s.lastNs = monotonicNs();  // what went by until now was our own work
  for (;;) {
    if (!s.filling.empty()) {
      std::swap(s.reading, s.filling);
      return s.reading;
    }
    if (s.done) {
      if (s.result != CURLE_OK) s.fail();
      return {};
    }
    if (std::exchange(s.paused, false)) {
      curl_easy_pause(s.easy, CURLPAUSE_CONT);
      if (!s.filling.empty()) continue;
    }
    s.step();
  }
}

std::string HttpSession::readAll(size_t limit, const std::string& what) {
  std::string out;
  for (std::string_view block; !(block = read()).empty();) {
    if (out.size() + block.size() > limit) throw Error("image", Code::limit, what + " is larger than " + std::to_string(limit) + " bytes");
    out.append(block);
  }
  return out;
}

}  // namespace rauha::oci
