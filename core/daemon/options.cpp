#include "core/daemon/options.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/base/error.h"
#include "core/base/version.h"

namespace rauha {
namespace {
constexpr const char* kHelp =
    R"(rauhad: the daemon of Rauha. `rauha` starts it on demand; this is for service managers and for watching it work.

  rauhad [--root DIR] [--config FILE]

  --root DIR      a private instance below DIR (also: RAUHA_ROOT); without it /var/lib/rauha and /run/rauha
  --config FILE   instead of /etc/rauha/rauha.toml or DIR/rauha.toml
  --on-demand     leave when idle, log to <state>/rauhad.log
  --ready-fd N    write "ready" (or "error …") to descriptor N
  --version, --help

  example: rauhad --root /tmp/try     in one terminal, and in another
           rauha --root /tmp/try sandbox --image host -- /bin/true
)";
}  // namespace

std::optional<Options> parseOptions(int argc, char** argv) {
  Options out;
  if (const char* root = getenv("RAUHA_ROOT"); root != nullptr) out.root = root;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw Error("usage", Code::invalid, std::string(arg) + " needs a value", "see rauhad --help");
      return argv[++i];
    };
    if (arg == "--help" || arg == "-h") {
      fputs(kHelp, stdout);
      return std::nullopt;
    }
    if (arg == "--version") {
      printf("rauhad %s\n", kVersion);
      return std::nullopt;
    }
    if (arg == "--root") {
      out.root = value();
    } else if (arg == "--config") {
      out.config = value();
    } else if (arg == "--on-demand") {
      out.onDemand = true;
    } else if (arg == "--ready-fd") {
      const std::string text = value();
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.readyFd);
      if (error != std::errc{} || end != text.data() + text.size() || out.readyFd < 3)
        throw Error("usage", Code::invalid, "--ready-fd " + text + " is not a descriptor number from 3 on");
    } else {
      throw Error("usage", Code::invalid, "unknown option " + std::string(arg), "see rauhad --help", std::string(arg));
    }
  }
  return out;
}

}  // namespace rauha
