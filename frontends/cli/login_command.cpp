// `rauha login`, `rauha logout`: credentials of the caller, in the caller's own file. The daemon takes no part.
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/output.h"
#include "frontends/cli/registry_credentials.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr size_t kLineMax = 16u << 10;

// No echo for the object's life.
class Unseen final {
 public:
  Unseen() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) throwErrno("image", "read the terminal's mode");
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0) throwErrno("image", "switch the terminal's echo off");
  }
  ~Unseen() { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_); }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;

 private:
  termios before_{};
};

std::string line() {
  std::string out;
  for (char c; out.size() < kLineMax;) {
    const ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("image", "read standard input");
    if (n == 0 || c == '\n') break;
    out += c;
  }
  if (!out.empty() && out.back() == '\r') out.pop_back();
  return out;
}

std::string askedFor(std::string_view question, bool seen) {
  writeFully(STDERR_FILENO, question, "write to standard error");
  if (seen) return line();
  std::string out;
  {
    const Unseen unseen;
    out = line();
  }
  writeFully(STDERR_FILENO, "\n", "write to standard error");
  return out;
}

// The name of a registry as references have it.
std::string registryNamed(const std::optional<std::string>& text) {
  const std::string name = text.value_or("docker.io");
  const std::string found = name.find('/') == std::string::npos ? registryOf(name + "/x") : std::string();
  if (found.empty() || (found == "docker.io" && name.find("docker.io") == std::string::npos))
    throw Error("usage", Code::invalid, "'" + printable(name) + "' is no registry",
                "write its host as in an image's name: registry.example, localhost:5000", "REGISTRY");
  return found;
}

}  // namespace

int loginCommand(const Invocation& invocation) {
  Arguments arguments(
      "rauha login",
      "Keep a user name and password for a registry, in your own auth.json (mode 0600). They are not tried here: the next pull uses them.",
      "  rauha login registry.example\n  rauha login localhost:5000 --username me --password-stdin < file\n");
  std::optional<std::string> registry, username;
  bool fromStdin = false;
  arguments.positional("REGISTRY", registry, "host[:port] as in an image's name (default: docker.io)", false);
  arguments.option("-u,--username", username, "NAME", "else it is asked for");
  arguments.flag("--password-stdin", fromStdin, "read the password from standard input, one line");
  if (!arguments.parse(invocation)) return kOk;
  const std::string host = registryNamed(registry);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (fromStdin && !username)
    throw Error("usage", Code::invalid, "rauha login: --password-stdin without --username", "add --username NAME", "--username");
  if (!fromStdin && !terminal)
    throw Error("usage", Code::invalid, "rauha login: standard input is no terminal to ask at", "use --username NAME --password-stdin",
                "--password-stdin");
  const std::string name = username ? *username : askedFor("user name for " + printable(host) + ": ", true);
  const std::string password = fromStdin ? line() : askedFor("password: ", false);
  if (name.empty() || name.find(':') != std::string::npos)
    throw Error("usage", Code::invalid, "the user name is empty or holds a ':'", "registries cannot have such a name", "--username");
  if (password.empty()) throw Error("usage", Code::invalid, "the password is empty", "give one line of text", "--password-stdin");
  const std::string file = storeCredentials(host, name, password);
  if (invocation.json) return printDocument("{\"registry\":" + jsonString(host) + ",\"file\":" + jsonString(file) + "}"), kOk;
  printText("credentials for " + printable(host) + " are in " + printable(file) + "\n");
  return kOk;
}

int logoutCommand(const Invocation& invocation) {
  Arguments arguments("rauha logout", "Forget what `rauha login` kept for a registry.", "  rauha logout registry.example\n");
  std::optional<std::string> registry;
  arguments.positional("REGISTRY", registry, "host[:port] as in an image's name (default: docker.io)", false);
  if (!arguments.parse(invocation)) return kOk;
  const std::string host = registryNamed(registry);
  if (!forgetCredentials(host))
    throw Error("image", Code::notFound, "nothing is kept for " + printable(host),
                "credentials in docker's config.json are docker's: docker logout", host);
  if (invocation.json) return printDocument("{\"registry\":" + jsonString(host) + "}"), kOk;
  printText("credentials for " + printable(host) + " are forgotten\n");
  return kOk;
}

}  // namespace rauha::cli
