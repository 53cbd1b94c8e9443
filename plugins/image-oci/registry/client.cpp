#include "plugins/image-oci/registry/client.h"

#include <poll.h>

#include <algorithm>
#include <cctype>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/registry/challenge.h"
#include "plugins/image-oci/registry/url_text.h"

namespace rauha::oci {
namespace {

constexpr int kAttemptsMax = 5;
constexpr int kRestartsMax = 100;  // of one blob that makes progress each time
constexpr int kRedirectsMax = 5;
constexpr uint64_t kPauseMax = 60'000;  // milliseconds; a longer Retry-After is told instead of waited for
constexpr size_t kErrorBodyMax = 64u << 10;
constexpr size_t kTokenMax = 1u << 20;
constexpr const char* kManifestTypes =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

bool isRedirect(long status) noexcept { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }
bool mayPass(long status) noexcept {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

// What may be different in a moment. Never leaves this file.
struct Again {
  std::optional<uint64_t> afterMs;
  Error error;
};

// The first message of {"errors": [{"code", "message"}]}, for people.
std::string messageOf(const std::string& body) {
  const auto doc = nlohmann::json::parse(body, nullptr, false);
  if (!doc.is_object()) return {};
  const auto errors = doc.find("errors");
  if (errors == doc.end() || !errors->is_array() || errors->empty() || !errors->front().is_object()) return {};
  const auto& first = errors->front();
  std::string out;
  for (const char* key : {"code", "message"})
    if (const auto it = first.find(key); it != first.end() && it->is_string()) out += (out.empty() ? "" : ": ") + it->get<std::string>();
  std::string clean = toUtf8(std::string_view(out).substr(0, 200));
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return clean;
}

}  // namespace

std::string RegistryMemory::authorization(const std::string& key) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto it = entries_.find(key);
  if (it == entries_.end() || (it->second.untilNs != 0 && it->second.untilNs < monotonicNs())) return {};
  return it->second.authorization;
}
void RegistryMemory::remember(const std::string& key, Entry entry) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (entries_.size() >= 256) entries_.clear();  // a cache: what is missing is asked for again
  entries_[key] = std::move(entry);
}
void RegistryMemory::forget(const std::string& key) {
  const std::lock_guard<std::mutex> guard(mutex_);
  entries_.erase(key);
}
bool RegistryMemory::isPlain(const std::string& host) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return plain_.count(host) > 0;
}
void RegistryMemory::notePlain(const std::string& host) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (plain_.size() >= 256) plain_.clear();
  plain_[host] = true;
}

struct RegistryClient::Endpoint {
  std::string host;  // "registry-1.docker.io", "localhost:5000"
  const RegistryHost* settings = nullptr;
  bool mirror = false;
};

// A session from the idle ones, given back at the end of the scope.
class RegistryClient::Lease final {
 public:
  explicit Lease(RegistryClient& client) : client_(client), session_(client.take()) {}
  ~Lease() { client_.give(std::move(session_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  HttpSession& operator*() const noexcept { return *session_; }

 private:
  RegistryClient& client_;
  std::unique_ptr<HttpSession> session_;
};

RegistryClient::RegistryClient(const RegistrySettings& settings, RegistryMemory& memory, const Watch& watch, RegistryTarget target,
                               std::optional<Credentials> credentials)
    : settings_(settings),
      memory_(memory),
      watch_{[this, &watch] {
               if (abandoned_) throw Error("image", Code::cancelled, "another layer failed");
               watch.mayGoOn();
             },
             watch.report, watch.cancelFd},
      target_(std::move(target)),
      credentials_(credentials && credentials->registry == target_.domain ? std::move(credentials) : std::nullopt) {
  const auto find = [&](const std::string& host) -> const RegistryHost* {
    const auto it = settings_.hosts.find(host);
    return it == settings_.hosts.end() ? nullptr : &it->second;
  };
  const RegistryHost* own = find(target_.domain);
  if (own != nullptr)
    for (const std::string& mirror : own->mirrors) endpoints_.push_back({mirror, find(mirror), true});
  endpoints_.push_back({target_.domain == "docker.io" ? "registry-1.docker.io" : target_.domain, own, false});
}
RegistryClient::~RegistryClient() = default;

bool RegistryClient::usesMirrors() const noexcept { return first_ + 1 < endpoints_.size(); }

void RegistryClient::dropMirrors() {
  const size_t own = endpoints_.size() - 1;
  if (first_.exchange(own) != own)
    watch_.progress("notice: a mirror of " + target_.domain + " sent something else than it was asked for; asking " + target_.domain, 0, 0);
}

std::unique_ptr<HttpSession> RegistryClient::take() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!idle_.empty()) {
      auto out = std::move(idle_.back());
      idle_.pop_back();
      return out;
    }
  }
  return std::make_unique<HttpSession>(settings_, watch_);
}
void RegistryClient::give(std::unique_ptr<HttpSession> session) {
  if (!session) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  idle_.push_back(std::move(session));
}

// Plain HTTP where the operator said so, and to a loopback registry that was seen not to speak TLS.
std::string RegistryClient::origin(const Endpoint& endpoint) const {
  const bool plain =
      (endpoint.settings != nullptr && endpoint.settings->insecure) || (isLoopbackHost(endpoint.host) && memory_.isPlain(endpoint.host));
  return (plain ? "http://" : "https://") + endpoint.host;
}

std::string RegistryClient::memoryKey(const Endpoint& endpoint) const {
  std::string who;
  if (credentials_ && !endpoint.mirror) who = credentials_->username + "\n" + credentials_->password + "\n" + credentials_->identityToken;
  return endpoint.host + "\n" + target_.repository + "\n" + sha256(who);
}

void RegistryClient::pause(uint64_t milliseconds, const std::string& why, const std::atomic<bool>* stop) const {
  watch_.progress("notice: " + why + "; again in " + std::to_string((milliseconds + 999) / 1000) + " s", 0, 0);
  const int64_t until = monotonicNs() + static_cast<int64_t>(milliseconds) * 1'000'000;
  for (int64_t left; (left = until - monotonicNs()) > 0;) {
    watch_.mayGoOn();
    if (stop != nullptr && *stop) throw Error("image", Code::cancelled, "the rest is not needed");
    pollfd cancel{watch_.cancelFd, POLLIN, 0};
    poll(&cancel, 1, static_cast<int>(std::min<int64_t>(left / 1'000'000 + 1, 200)));
  }
  watch_.mayGoOn();
}

template <typename F>
auto RegistryClient::patiently(const Endpoint&, F f) {
  uint64_t wait = settings_.retryMs;
  for (int attempt = 1;; ++attempt, wait *= 2) {
    std::optional<Again> again;
    try {
      return f();
    } catch (Again& e) {
      again.emplace(std::move(e));
    } catch (const HttpFailure& e) {
      if (!e.transient()) throw;
      again.emplace(Again{std::nullopt, e});
    }
    if (attempt == kAttemptsMax) throw again->error;
    const uint64_t ms = again->afterMs.value_or(wait);
    if (ms > kPauseMax)
      throw Error("image", Code::busy, again->error.text() + "; it asks to come back in " + std::to_string(ms / 1000) + " s",
                  "try again then");
    pause(ms, again->error.text());
  }
}

template <typename F>
auto RegistryClient::anywhere(F f) {
  for (size_t i = first_;; ++i) {
    const Endpoint& endpoint = endpoints_[i];
    try {
      return patiently(endpoint, [&] { return f(endpoint); });
    } catch (const Error& e) {
      if (i + 1 == endpoints_.size() || e.code() == Code::cancelled) throw;
      watch_.progress("notice: mirror " + endpoint.host + ": " + e.text(), 0, 0);
    }
  }
}

// One request with what is known about authentication, and once more with what the answer says about it.
HttpAnswer RegistryClient::ask(HttpSession& session, const Endpoint& endpoint, const std::string& path, const std::string& accept,
                               uint64_t offset, const std::atomic<bool>* stop) {
  for (int round = 0;; ++round) {
    HttpRequest request;
    request.url = origin(endpoint) + path;
    request.accept = accept;
    request.offset = offset;
    request.stop = stop;
    request.tls = endpoint.settings;
    request.authorization = memory_.authorization(memoryKey(endpoint));
    HttpAnswer answer;
    try {
      answer = follow(session, endpoint, request);
    } catch (const HttpFailure& e) {
      // Certificates in the configuration say that it speaks TLS: then whoever does not is another one.
      const bool certified = endpoint.settings != nullptr && !(endpoint.settings->ca.empty() && endpoint.settings->certificate.empty());
      if (!e.notTls() || certified || !isLoopbackHost(endpoint.host) || memory_.isPlain(endpoint.host)) throw;
      memory_.notePlain(endpoint.host);
      watch_.progress("notice: " + endpoint.host + " speaks plain HTTP; accepted, because it is this machine", 0, 0);
      continue;
    }
    if (answer.status != 401 || round >= 2) return answer;
    if (!authenticate(session, endpoint, answer)) return answer;
  }
}

HttpAnswer RegistryClient::follow(HttpSession& session, const Endpoint& endpoint, HttpRequest request) {
  const std::string first = originOf(request.url);
  const bool plain = request.url.compare(0, 7, "http://") == 0;
  for (int hops = 0;; ++hops) {
    HttpAnswer answer = session.send(request);
    if (!isRedirect(answer.status)) return answer;
    const std::string shown =
        toUtf8(std::string_view(answer.location.empty() ? answer.header("location") : answer.location).substr(0, 200));
    if (hops == kRedirectsMax)
      throw Error("image", Code::limit, endpoint.host + ": more than " + std::to_string(kRedirectsMax) + " redirects, the last to " + shown,
                  "the registry is misconfigured; ask whoever runs it");
    const bool https = answer.location.compare(0, 8, "https://") == 0;
    if (!https && !(plain && answer.location.compare(0, 7, "http://") == 0))
      throw Error("image", Code::denied, endpoint.host + ": refused: redirect to '" + shown + "', which is not https",
                  "the registry is misconfigured, or somebody is in between; ask whoever runs it");
    // Never nearer than the first host; what the first host is, its answer's address says.
    if (hops == 0) request.nearest = nearnessOfText(answer.address);
    request.url = answer.location;
    if (originOf(request.url) != first) {
      request.authorization.clear();
      request.tls = nullptr;  // neither our certificate nor an authority that was meant for one registry
      if (const auto it = settings_.hosts.find(hostOf(request.url)); it != settings_.hosts.end()) request.tls = &it->second;
    }
  }
}

bool RegistryClient::authenticate(HttpSession& session, const Endpoint& endpoint, const HttpAnswer& answer) {
  session.readAll(kErrorBodyMax, endpoint.host + ": its answer");
  const std::string key = memoryKey(endpoint);
  const bool hadOne = !memory_.authorization(key).empty();
  const std::vector<Challenge> challenges = parseChallenges(answer.header("www-authenticate"));
  const auto named = [&](const char* scheme) {
    return std::find_if(challenges.begin(), challenges.end(), [&](const Challenge& c) { return c.scheme == scheme; });
  };
  if (const auto bearer = named("bearer"); bearer != challenges.end()) {
    RegistryMemory::Entry entry;
    entry.authorization = "Bearer " + token(session, endpoint, *bearer, answer, entry.untilNs);
    memory_.remember(key, std::move(entry));
    return true;
  }
  if (named("basic") != challenges.end()) {
    memory_.forget(key);
    if (endpoint.mirror || !credentials_ || credentials_->username.empty() || hadOne) return false;
    memory_.remember(key, {"Basic " + base64(credentials_->username + ":" + credentials_->password), 0});
    return true;
  }
  if (challenges.empty()) return false;
  throw Error("image", Code::unsupported,
              endpoint.host + ": it asks for the authentication '" + toUtf8(challenges.front().scheme.substr(0, 40)) +
                  "', which Rauha does not have",
              "Rauha knows Basic and Bearer");
}

// Credentials go in the clear only where the registry itself is, within this machine, or where the operator said so.
bool RegistryClient::mayBePlain(const Endpoint& endpoint, const std::string& realm) const {
  const std::string host = hostOf(realm);
  const auto named = settings_.hosts.find(host);
  return host == endpoint.host || isLoopbackHost(host) || (named != settings_.hosts.end() && named->second.insecure);
}

std::string RegistryClient::token(HttpSession& session, const Endpoint& endpoint, const Challenge& challenge, const HttpAnswer& answer,
                                  int64_t& untilNs) {
  const std::string registry = origin(endpoint);
  const bool https = challenge.realm.compare(0, 8, "https://") == 0;
  if (!https &&
      !(registry.compare(0, 7, "http://") == 0 && challenge.realm.compare(0, 7, "http://") == 0 && mayBePlain(endpoint, challenge.realm)))
    throw Error("image", Code::denied,
                endpoint.host + ": refused: its token server is '" + toUtf8(std::string_view(challenge.realm).substr(0, 200)) +
                    "', which is not https",
                "the registry is misconfigured, or somebody is in between");
  const std::string scope = "repository:" + target_.repository + ":pull";
  const bool known = credentials_ && !endpoint.mirror;
  HttpRequest request;
  request.nearest = nearnessOfText(answer.address);
  request.tls = endpoint.settings;
  if (hostOf(challenge.realm) != endpoint.host) {
    request.tls = nullptr;
    if (const auto it = settings_.hosts.find(hostOf(challenge.realm)); it != settings_.hosts.end()) request.tls = &it->second;
    // A realm of another host is usual, with the registry's own authority too.
    if (request.tls == nullptr && endpoint.settings != nullptr && endpoint.settings->certificate.empty()) request.tls = endpoint.settings;
  }
  request.url = challenge.realm;
  if (known && !credentials_->identityToken.empty()) {
    request.form = "grant_type=refresh_token&client_id=rauha&service=" + urlEncoded(challenge.service) + "&scope=" + urlEncoded(scope) +
                   "&refresh_token=" + urlEncoded(credentials_->identityToken);
  } else {
    request.url += (challenge.realm.find('?') == std::string::npos ? "?" : "&") + ("service=" + urlEncoded(challenge.service)) +
                   "&scope=" + urlEncoded(scope);
    if (known) request.authorization = "Basic " + base64(credentials_->username + ":" + credentials_->password);
  }
  const std::string where = toUtf8(originOf(challenge.realm));
  const HttpAnswer given = session.send(request);  // not followed: credentials are in it
  const std::string body = session.readAll(kTokenMax, where + ": its token");
  if (mayPass(given.status))
    throw Again{parseRetryAfter(given.header("retry-after"), realNs()),
                Error("image", Code::busy, where + ": answered " + std::to_string(given.status))};
  if (given.status == 401 || given.status == 403)
    throw Error("image", Code::denied,
                where + ": " + (known ? "refused the credentials for " + target_.domain : "gives no token without credentials"),
                "rauha login " + target_.domain, target_.domain);
  if (given.status != 200) throw Error("image", Code::io, where + ": the token server answered " + std::to_string(given.status));
  const auto doc = parseJson(body, where + ": its token");
  if (!doc.is_object()) throw Error("image", Code::invalid, where + ": its token is no object");
  std::string out = jsonText(doc, "token", where + ": its token");
  if (out.empty()) out = jsonText(doc, "access_token", where + ": its token");
  if (out.empty() || std::any_of(out.begin(), out.end(), [](unsigned char c) { return c <= 0x20 || c >= 0x7f; }))
    throw Error("image", Code::invalid, where + ": it gave no token");
  const uint64_t seconds = std::clamp<uint64_t>(jsonNumber(doc, "expires_in", where + ": its token", 60), 10, 3600);
  untilNs = monotonicNs() + static_cast<int64_t>(seconds - 5) * 1'000'000'000;
  return out;
}

void RegistryClient::refuse(HttpSession& session, const Endpoint& endpoint, const HttpAnswer& answer, const std::string& what) {
  std::string body;
  try {
    body = session.readAll(kErrorBodyMax, "an answer");
  } catch (const HttpFailure&) {  // the status says enough
  } catch (const Error& e) {
    if (e.code() != Code::limit) throw;
  }
  const std::string said = messageOf(body);
  const std::string text =
      endpoint.host + ": " + what + ": answered " + std::to_string(answer.status) + (said.empty() ? "" : " (" + said + ")");
  if (mayPass(answer.status))
    throw Again{parseRetryAfter(answer.header("retry-after"), realNs()),
                Error("image", Code::busy, text,
                      "the registry is overloaded or limits how often it is asked; try later, or log in: rauha login " + target_.domain)};
  if (answer.status == 401 || answer.status == 403) {
    memory_.forget(memoryKey(endpoint));
    throw Error("image", Code::denied, text,
                credentials_ ? "do the credentials for " + target_.domain + " allow pulling " + target_.repository +
                                   "? log in again: rauha login " + target_.domain
                             : "it may not exist, or be private: rauha login " + target_.domain,
                target_.domain);
  }
  if (answer.status == 404) throw Error("image", Code::notFound, text, "check name and tag");
  throw Error("image", Code::io, text);
}

RegistryClient::Document RegistryClient::manifest(const std::string& reference) {
  const std::string what = "manifest " + target_.repository + (isSha256(reference) ? "@" : ":") + reference;
  return anywhere([&](const Endpoint& endpoint) {
    const Lease session(*this);
    const HttpAnswer answer = ask(*session, endpoint, "/v2/" + target_.repository + "/manifests/" + reference, kManifestTypes, 0);
    if (answer.status != 200) refuse(*session, endpoint, answer, what);
    std::string type = answer.header("content-type");
    type = type.substr(0, type.find(';'));
    return Document{(*session).readAll(kJsonMax, endpoint.host + ": " + what), type};
  });
}

std::string RegistryClient::blob(const std::string& digest) {
  return anywhere([&](const Endpoint& endpoint) {
    const Lease session(*this);
    const HttpAnswer answer = ask(*session, endpoint, "/v2/" + target_.repository + "/blobs/" + digest, {}, 0);
    if (answer.status != 200) refuse(*session, endpoint, answer, "blob " + digest);
    return (*session).readAll(kJsonMax, endpoint.host + ": blob " + digest);
  });
}

std::unique_ptr<RegistryClient::Body> RegistryClient::openBlob(const std::string& digest, uint64_t offset, uint64_t size,
                                                               const std::atomic<bool>* stop) {
  return std::make_unique<Body>(*this, digest, offset, size, stop);
}

RegistryClient::Body::Body(RegistryClient& client, std::string digest, uint64_t offset, uint64_t size, const std::atomic<bool>* stop)
    : client_(client), digest_(std::move(digest)), at_(offset), size_(size), stop_(stop), endpoint_(client.first_) {}
RegistryClient::Body::~Body() {
  if (at_ == size_) client_.give(std::move(session_));
}

void RegistryClient::Body::open() {
  const Endpoint& endpoint = client_.endpoints_[endpoint_];
  auto session = client_.take();
  const HttpAnswer answer = client_.ask(*session, endpoint, "/v2/" + client_.target_.repository + "/blobs/" + digest_, {}, at_, stop_);
  const std::string what = "blob " + digest_;
  const auto wrongSize = [&](const std::string& found) {
    throw Error("image", Code::corrupt,
                endpoint.host + ": " + what + ": size mismatch: expected " + std::to_string(size_) + " bytes, the registry has " + found,
                "the registry's copy is damaged; push the image again");
  };
  const auto length = [&]() -> std::optional<uint64_t> {
    const std::string& text = answer.header("content-length");
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    return std::stoull(text);
  }();
  skip_ = 0;
  if (answer.status == 206 && at_ > 0) {
    const auto range = parseContentRange(answer.header("content-range"));
    if (!range || range->first != at_)
      throw Error("image", Code::invalid,
                  endpoint.host + ": " + what + ": asked for the bytes from " + std::to_string(at_) + " on, it sent something else");
    if (range->size != size_) wrongSize(std::to_string(range->size));
  } else if (answer.status == 200) {
    if (length && *length != size_) wrongSize(std::to_string(*length));
    skip_ = at_;
  } else if (answer.status == 416) {
    wrongSize("fewer");
  } else {
    client_.refuse(*session, endpoint, answer, what);
  }
  session_ = std::move(session);
}

std::string_view RegistryClient::Body::attempt() {
  if (!session_) open();
  for (;;) {
    std::string_view block = session_->read();
    if (block.empty()) {
      session_.reset();
      throw Again{std::nullopt, Error("image", Code::corrupt,
                                      client_.endpoints_[endpoint_].host + ": blob " + digest_ + " ends after " + std::to_string(at_) +
                                          " of " + std::to_string(size_) + " bytes",
                                      "the registry's copy is damaged, or the connection is; try again")};
    }
    const uint64_t skipped = std::min<uint64_t>(skip_, block.size());
    skip_ -= skipped;
    block.remove_prefix(skipped);
    if (block.empty()) continue;
    if (block.size() > size_ - at_)
      throw Error("image", Code::corrupt,
                  client_.endpoints_[endpoint_].host + ": blob " + digest_ + ": size mismatch: expected " + std::to_string(size_) +
                      " bytes, more came",
                  "the registry's copy is damaged; push the image again");
    return block;
  }
}

std::string_view RegistryClient::Body::next() {
  if (at_ == size_) return {};
  for (;;) {
    std::optional<Again> again;
    try {
      const std::string_view block = attempt();
      at_ += block.size();
      failures_ = 0;
      return block;
    } catch (Again& e) {
      again.emplace(std::move(e));
    } catch (const HttpFailure& e) {
      if (!e.transient() && endpoint_ + 1 == client_.endpoints_.size()) throw;
      again.emplace(Again{std::nullopt, e});
    } catch (const Error& e) {
      if (e.code() == Code::cancelled || endpoint_ + 1 == client_.endpoints_.size()) throw;
      again.emplace(Again{0, e});
      failures_ = kAttemptsMax;  // a mirror that lacks it, or lies
    }
    session_.reset();
    if (++restarts_ > kRestartsMax || ++failures_ >= kAttemptsMax) {
      if (endpoint_ + 1 == client_.endpoints_.size()) throw again->error;
      ++endpoint_;
      failures_ = 0;
      continue;
    }
    const uint64_t ms = again->afterMs.value_or(uint64_t{client_.settings_.retryMs} << (failures_ - 1));
    if (ms > kPauseMax) throw again->error;
    client_.pause(ms, again->error.text(), stop_);
  }
}

}  // namespace rauha::oci
