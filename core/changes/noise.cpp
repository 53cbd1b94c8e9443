#include "core/changes/noise.h"

#include <algorithm>

#include "core/base/cache_paths.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kObjects = ".git/objects", kLogs = ".git/logs";
constexpr std::string_view kFiles[] = {".coverage", ".eslintcache", ".DS_Store"};

// What git stores beside what it means by it: the references say which commit it is.
std::string_view gitStore(std::string_view path) noexcept {
  for (size_t git = 0; git < path.size(); ++git) {
    const size_t slash = std::min(path.find('/', git), path.size());
    const auto inner = path.substr(std::min(slash + 1, path.size()));
    if (path.substr(git, slash - git) == ".git") {
      if (inner == "objects" || inner.starts_with("objects/")) return kObjects;
      if (inner == "logs" || inner.starts_with("logs/")) return kLogs;
    }
    git = slash;
  }
  return {};
}

}  // namespace

bool isGitIndex(std::string_view path) noexcept {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || path.substr(slash + 1) != "index") return false;
  const std::string_view directory = path.substr(0, slash);
  if (directory == ".git" || directory.ends_with("/.git")) return true;
  const size_t git = directory.starts_with(".git/") ? 0 : directory.find("/.git/");
  if (git == std::string_view::npos) return false;
  const std::string_view inner = directory.substr(git == 0 ? 5 : git + 6);
  return inner.starts_with("modules/") || inner.starts_with("worktrees/");
}

std::string_view noiseGroup(std::string_view path) noexcept {
  if (isGitIndex(path)) return kGitIndex;
  if (const auto store = gitStore(path); !store.empty()) return store;
  if (const auto cache = cacheGroup(path); !cache.empty()) return cache;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  for (const auto known : kFiles)
    if (name == known) return known;
  return {};
}

}  // namespace rauha::changes
