#include "core/changes/noise.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kIndex = ".git/index";
constexpr std::string_view kDirectories[] = {"__pycache__", ".pytest_cache",      ".mypy_cache",   ".ruff_cache", ".hypothesis",
                                             ".ccache",     ".ipynb_checkpoints", ".parcel-cache", ".turbo",      ".sass-cache"};
constexpr std::string_view kFiles[] = {".coverage", ".eslintcache", ".DS_Store"};
constexpr struct { std::string_view suffix, group; } kSuffixes[] = {{".pyc", "*.pyc"}, {".pyo", "*.pyc"}};

// The index of a repository, a submodule or a worktree: git refreshes what it knows about the files' times at every look.
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

}  // namespace

std::string_view noiseGroup(std::string_view path) noexcept {
  if (isGitIndex(path)) return kIndex;
  std::string_view previous;
  for (std::string_view rest = path; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    for (const auto known : kDirectories)
      if (name == known) return known;
    if (previous == "node_modules" && name == ".cache") return "node_modules/.cache";
    if (rest.empty()) {
      for (const auto known : kFiles)
        if (name == known) return known;
      for (const auto& known : kSuffixes)
        if (name.ends_with(known.suffix)) return known.group;
    }
    previous = name;
  }
  return {};
}

}  // namespace rauha::changes
