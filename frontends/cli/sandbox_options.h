#pragma once
// `rauha sandbox`: the command line as a value, checked as far as that is possible without the daemon.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "frontends/cli/arguments.h"

namespace rauha::cli {

enum class RepoMode { none, ro, rw, overlay };

struct SandboxOptions {
  std::optional<std::string> root;
  std::string image;
  std::optional<std::string> platform;
  std::string pull = "missing";  // or always, never
  std::optional<std::string> name, policy, workdir, user, repoPath;
  RepoMode repoMode = RepoMode::none;
  // --from: the task to go on from, as the user named it. Its repository is used when repoPath is absent.
  std::optional<std::string> from;
  std::vector<std::string> env, allowDegraded;
  uint64_t timeoutMs = 0;
  bool keepZone = false, terminal = false, noStdin = false, trace = false, json = false;
  std::vector<std::string> command;
};

// nothing: --help was printed. Throws Error "usage" (and "repository" for a mode that is none).
std::optional<SandboxOptions> parseSandboxOptions(const Invocation& invocation);

}  // namespace rauha::cli
