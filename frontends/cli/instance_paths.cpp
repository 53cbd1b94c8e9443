#include "frontends/cli/instance_paths.h"

#include <unistd.h>
#include <climits>
#include <cstdlib>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

std::string absolute(const std::string& path) {
  std::string full = path;
  if (full.front() != '/') {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == nullptr) throwErrno("daemon", "read the working directory");
    full = std::string(here) + "/" + full;
  }
  // Existing directories get their one true name, so that two spellings are one instance.
  char real[PATH_MAX];
  if (realpath(full.c_str(), real) != nullptr) return real;
  while (full.size() > 1 && full.back() == '/') full.pop_back();
  return full;
}

}  // namespace

InstancePaths instancePaths(const std::optional<std::string>& rootOption) {
  InstancePaths paths;
  std::string root;
  if (rootOption) {
    if (rootOption->empty()) throw Error("usage", Code::invalid, "--root is empty", "name a directory: --root /path/to/instance");
    root = *rootOption;
  } else if (const char* fromEnvironment = std::getenv("RAUHA_ROOT")) {
    root = fromEnvironment;
  }
  if (!root.empty()) root = absolute(root);
  if (root == "/") root.clear();
  paths.root = root;
  paths.runtimeDirectory = root.empty() ? "/run/rauha" : root + "/run";
  return paths;
}

}  // namespace rauha::cli
