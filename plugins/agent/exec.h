#pragma once
// The exec itself: where a command is looked up and what its failure means to people. Everything is prepared before seccomp is armed, so
// that only execve, and on failure faccessat and write, remain.

#include <string>
#include <vector>

#include "core/base/error.h"
#include "plugins/agent/plan.h"

namespace rauha::agent {

struct ExecPlan {
  std::string command;                  // as the user wrote it
  std::vector<std::string> candidates;  // paths to try, in order
  std::vector<std::string> argv, env;
};

// A command without a slash is looked up in PATH of its own environment; without PATH, in the usual directories.
ExecPlan planExec(const ProcessPlan& process);

// Tries each candidate; returns only on failure, with the errno that says most.
int runExec(const ExecPlan& plan) noexcept;

// Class "command": notFound "command not found", denied "not executable".
Error execFailure(const ExecPlan& plan, int error);

}  // namespace rauha::agent
