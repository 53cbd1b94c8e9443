#include "plugins/agent/exec.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "command";
constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string_view pathOf(const std::vector<std::string>& env) {
  for (const auto& e : env)
    if (e.rfind("PATH=", 0) == 0) return std::string_view(e).substr(5);
  return kDefaultPath;
}

}  // namespace

ExecPlan planExec(const ProcessPlan& process) {
  ExecPlan plan;
  plan.command = process.argv[0];
  plan.argv = process.argv;
  plan.env = process.env;
  if (plan.command.find('/') != std::string::npos) {
    plan.candidates.push_back(plan.command);
    return plan;
  }
  std::string_view path = pathOf(plan.env);
  while (true) {
    const size_t colon = path.find(':');
    const std::string_view directory = path.substr(0, colon);
    plan.candidates.push_back((directory.empty() ? std::string(".") : std::string(directory)) + "/" + plan.command);
    if (colon == std::string_view::npos) return plan;
    path.remove_prefix(colon + 1);
  }
}

int runExec(const ExecPlan& plan) noexcept {
  std::vector<char*> argv, env;
  for (const auto& a : plan.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (const auto& e : plan.env) env.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);
  int worst = ENOENT;
  for (const auto& candidate : plan.candidates) {
    ::execve(candidate.c_str(), argv.data(), env.data());
    // As a shell does: a file that may not be run is remembered, the search goes on.
    if (errno == EACCES) worst = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return errno;
  }
  return worst;
}

Error execFailure(const ExecPlan& plan, int error) {
  const std::string& c = plan.command;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      if (plan.candidates.size() == 1 && ::access(c.c_str(), F_OK) == 0)
        return Error(kClass, Code::notFound, c + ": its interpreter was not found",
                     "the script's first line or the program's loader names a missing file", c);
      return Error(kClass, Code::notFound, c + ": command not found", "look at PATH and at the image's contents", c);
    case EACCES:
      if (struct stat st{}; plan.candidates.size() == 1 && ::stat(c.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
        return Error(kClass, Code::denied, c + ": not executable (a directory)", "name a program in it", c);
      return Error(kClass, Code::denied, c + ": not executable (permission denied)", {}, c);
    case ENOEXEC:
      return Error(kClass, Code::denied, c + ": not executable (no program of this machine, and no #! line)", {}, c);
    case EISDIR:
      return Error(kClass, Code::denied, c + ": not executable (a directory)", {}, c);
    case E2BIG:
      return Error(kClass, Code::invalid, c + ": arguments and environment are too long", {}, c);
    default:
      return osError(kClass, c + ": not executable", error);
  }
}

}  // namespace rauha::agent
