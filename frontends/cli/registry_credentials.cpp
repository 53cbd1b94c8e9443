#include "frontends/cli/registry_credentials.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

using nlohmann::json;

constexpr size_t kFileMax = 1u << 20;
constexpr auto kHelperPatience = std::chrono::seconds(60);  // it may ask the user
constexpr std::array<std::string_view, 5> kLocalKinds = {"dir:", "oci:", "oci-archive:", "docker-archive:", "tar:"};

std::string environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string runtimeFile() {
  const std::string runtime = environment("XDG_RUNTIME_DIR");
  return runtime.empty() ? "/run/containers/" + std::to_string(geteuid()) + "/auth.json" : runtime + "/containers/auth.json";
}

// How the files name a registry; docker.io has a history.
std::vector<std::string> keysOf(const std::string& registry) {
  if (registry == "docker.io")
    return {"docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", "https://docker.io"};
  return {registry, "https://" + registry, "https://" + registry + "/", "https://" + registry + "/v1/", "https://" + registry + "/v2/"};
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    uint32_t v = 0;
    if (c >= 'A' && c <= 'Z')
      v = static_cast<uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      v = static_cast<uint32_t>(c - 'a' + 26);
    else if (c >= '0' && c <= '9')
      v = static_cast<uint32_t>(c - '0' + 52);
    else if (c == '+')
      v = 62;
    else if (c == '/')
      v = 63;
    else if (c == '=' || c == '\n' || c == '\r')
      continue;
    else
      return std::nullopt;
    bits = bits << 6 | v;
    if ((have += 6) >= 8) out += static_cast<char>(bits >> (have -= 8) & 0xff);
  }
  return out;
}

std::string member(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}
const json* table(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_object() ? &*it : nullptr;
}

std::string document(const std::string& registry, const std::string& username, const std::string& password, const std::string& identity) {
  json out = {{"registry", registry}};
  if (!identity.empty()) {
    out["identity_token"] = identity;
    if (!username.empty()) out["username"] = username;
  } else {
    out["username"] = username;
    out["password"] = password;
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

// One entry of "auths"; empty: it says nothing.
std::string fromEntry(const json& entry, const std::string& registry, const std::string& file) {
  if (!entry.is_object()) return {};
  std::string username = member(entry, "username"), password = member(entry, "password");
  const std::string identity = member(entry, "identitytoken"), auth = member(entry, "auth");
  if (!auth.empty()) {
    const auto plain = decoded(auth);
    const size_t colon = plain ? plain->find(':') : std::string::npos;
    if (colon == std::string::npos)
      throw Error("image", Code::invalid, file + ": the entry for " + registry + " is damaged",
                  "rauha login " + registry + " writes it anew", file);
    username = plain->substr(0, colon);
    password = plain->substr(colon + 1);
    while (!password.empty() && password.back() == '\0') password.pop_back();  // docker pads
  }
  if (username.empty() && identity.empty()) return {};
  return document(registry, username, password, identity);
}

bool isHelperName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name[0] != '-' && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

CredentialPlan helperPlan(const std::string& name, const std::string& registry, const std::string& file) {
  if (!isHelperName(name))
    throw Error("image", Code::invalid, file + ": '" + printable(name) + "' is no name of a credential helper",
                "it stands for a program docker-credential-NAME", file);
  return {registry, {}, name, registry == "docker.io" ? "https://index.docker.io/v1/" : registry};
}

json parsed(std::string_view text, const std::string& file) {
  json doc = json::parse(text.begin(), text.end(), nullptr, false);
  if (!doc.is_object())
    throw Error("image", Code::invalid, file + " is no JSON object, so its credentials are lost", "repair or remove it", file);
  return doc;
}

std::optional<std::string> textOf(const std::string& file) {
  UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) throw osError("image", "open " + file, errno, "credentials are read with your rights");
  struct stat st {};
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) throw Error("image", Code::invalid, file + " is not a regular file", {}, file);
  return readAll(fd.get(), file, kFileMax);
}

std::string repositoryOf(std::string_view reference, const std::string& registry) {
  std::string_view rest = reference.substr(0, reference.find('@'));
  if (rest.substr(0, registry.size()) == registry && rest.size() > registry.size() && rest[registry.size()] == '/')
    rest.remove_prefix(registry.size() + 1);
  if (const size_t colon = rest.rfind(':'); colon != std::string_view::npos && rest.find('/', colon) == std::string_view::npos)
    rest = rest.substr(0, colon);
  return (registry == "docker.io" && rest.find('/') == std::string_view::npos ? "library/" : "") + std::string(rest);
}

// The helper's answer to "get". It gets the server's name on its standard input; its own words go to our standard error.
class Helper final {
 public:
  explicit Helper(const std::string& name) : program_("docker-credential-" + name) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throwErrno("image", "make a pipe");
    UniqueFd childIn(in[0]), childOut(out[1]);
    in_.reset(in[1]);
    out_.reset(out[0]);
    pid_ = fork();
    if (pid_ < 0) throwErrno("image", "start " + program_);
    if (pid_ == 0) {
      dup2(childIn.get(), 0);
      dup2(childOut.get(), 1);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      for (int n : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) signal(n, SIG_DFL);
      execlp(program_.c_str(), program_.c_str(), "get", static_cast<char*>(nullptr));
      _exit(127);
    }
  }
  ~Helper() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  std::string ask(const std::string& server) {
    const ssize_t ignored =
        write(in_.get(), server.data(), server.size());  // a few bytes: a pipe takes them; one that does not read says nothing
    static_cast<void>(ignored);
    in_.reset();
    std::string answer;
    const auto until = std::chrono::steady_clock::now() + kHelperPatience;
    for (char block[4096];;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
      pollfd ready{out_.get(), POLLIN, 0};
      if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) == 0)
        throw Error("image", Code::deadline, program_ + " did not answer within " + std::to_string(kHelperPatience.count()) + " s",
                    "run it by hand: echo SERVER | " + program_ + " get", program_);
      const ssize_t n = read(out_.get(), block, sizeof block);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      answer.append(block, static_cast<size_t>(n));
      if (answer.size() > kFileMax)
        throw Error("image", Code::limit, program_ + " answered with more than " + std::to_string(kFileMax) + " bytes", {}, program_);
    }
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
      throw Error("image", Code::notFound, program_ + " is not there, and your configuration names it as the keeper of credentials",
                  "install it, or remove it from credsStore and credHelpers", program_);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return {};  // it has nothing: what it printed is for people
    return answer;
  }

 private:
  std::string program_;
  UniqueFd in_, out_;
  pid_t pid_ = -1;
};

std::string writableFile() {
  const std::string named = environment("REGISTRY_AUTH_FILE");
  return named.empty() ? runtimeFile() : named;
}

// Whole or not at all; never readable by others, not even for a moment.
void writeSecret(const std::string& file, const std::string& text) {
  const size_t slash = file.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : file.substr(0, slash);
  for (size_t at = 1; (at = parent.find('/', at)) != std::string::npos; ++at) mkdir(parent.substr(0, at).c_str(), 0700);
  if (mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) throwErrno("image", "make directory " + parent);
  std::string temporary = file + ".XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));  // 0600
  if (!fd) throwErrno("image", "write " + file);
  Defer remove([&] { unlink(temporary.c_str()); });
  writeAll(fd.get(), text, "write " + file);
  if (fsync(fd.get()) != 0 || rename(temporary.c_str(), file.c_str()) != 0) throwErrno("image", "write " + file);
  remove.dismiss();
}

}  // namespace

std::string registryOf(std::string_view reference) {
  if (reference == "host") return {};
  for (const std::string_view kind : kLocalKinds)
    if (reference.substr(0, kind.size()) == kind) return {};
  if (reference.find("://") != std::string_view::npos || reference.find_first_of(std::string_view("\0\n ", 3)) != std::string_view::npos)
    return {};
  const size_t slash = reference.find('/');
  if (slash == std::string_view::npos) return "docker.io";
  const std::string_view first = reference.substr(0, slash);
  if (first.empty() || first[0] == '.' || first.back() == ':') return {};
  if (first != "localhost" && first.find_first_of(".:") == std::string_view::npos) return "docker.io";
  if (first == "index.docker.io" || first == "registry-1.docker.io") return "docker.io";
  return std::string(first);
}

std::vector<std::string> credentialFiles() {
  const std::string named = environment("REGISTRY_AUTH_FILE"), home = environment("HOME");
  if (!named.empty()) return {named};
  std::vector<std::string> out = {runtimeFile()};
  const std::string config = environment("XDG_CONFIG_HOME"), docker = environment("DOCKER_CONFIG");
  if (!config.empty() || !home.empty()) out.push_back((config.empty() ? home + "/.config" : config) + "/containers/auth.json");
  if (!docker.empty() || !home.empty()) out.push_back((docker.empty() ? home + "/.docker" : docker) + "/config.json");
  return out;
}

std::optional<CredentialPlan> planFrom(std::string_view text, const std::string& file, const std::string& registry,
                                       const std::string& repository) {
  const json doc = parsed(text, file);
  const std::vector<std::string> keys = keysOf(registry);
  if (const json* helpers = table(doc, "credHelpers"))
    for (const std::string& key : keys)
      if (const std::string name = member(*helpers, key.c_str()); !name.empty()) return helperPlan(name, registry, file);
  if (const json* auths = table(doc, "auths")) {
    // auth.json may hold entries for a part of a registry: the longest wins.
    for (std::string path = registry + "/" + repository; path.size() > registry.size(); path.resize(path.rfind('/')))
      if (const auto it = auths->find(path); it != auths->end())
        if (std::string found = fromEntry(*it, registry, file); !found.empty()) return CredentialPlan{registry, std::move(found), {}, {}};
    for (const std::string& key : keys)
      if (const auto it = auths->find(key); it != auths->end())
        if (std::string found = fromEntry(*it, registry, file); !found.empty()) return CredentialPlan{registry, std::move(found), {}, {}};
  }
  if (const std::string store = member(doc, "credsStore"); !store.empty()) return helperPlan(store, registry, file);
  return std::nullopt;
}

CredentialPlan planCredentials(std::string_view reference) {
  CredentialPlan none{registryOf(reference), {}, {}, {}};
  if (none.registry.empty()) return none;
  for (const std::string& file : credentialFiles())
    if (const auto text = textOf(file))
      if (auto plan = planFrom(*text, file, none.registry, repositoryOf(reference, none.registry))) return std::move(*plan);
  return none;
}

std::string fetchCredentials(const CredentialPlan& plan) {
  if (plan.helper.empty()) return plan.json;
  const std::string answer = Helper(plan.helper).ask(plan.server);
  if (answer.empty()) return {};
  const json doc = json::parse(answer, nullptr, false);
  if (!doc.is_object())
    throw Error("image", Code::invalid, "docker-credential-" + plan.helper + " answered something that is no JSON object", {}, plan.helper);
  const std::string username = member(doc, "Username"), secret = member(doc, "Secret");
  if (secret.empty()) return {};
  return username == "<token>" ? document(plan.registry, {}, {}, secret) : document(plan.registry, username, secret, {});
}

std::string storeCredentials(const std::string& registry, const std::string& username, const std::string& password) {
  const std::string file = writableFile();
  const auto text = textOf(file);
  json doc = text ? parsed(*text, file) : json::object();
  doc["auths"][registry] = {{"auth", base64(username + ":" + password)}};
  writeSecret(file, doc.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  return file;
}

bool forgetCredentials(const std::string& registry) {
  const std::string file = writableFile();
  const auto text = textOf(file);
  if (!text) return false;
  json doc = parsed(*text, file);
  const auto auths = doc.find("auths");
  if (auths == doc.end() || !auths->is_object() || auths->erase(registry) == 0) return false;
  writeSecret(file, doc.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  return true;
}

}  // namespace rauha::cli
