#include "core/base/cache_paths.h"

#include "core/base/ascii_case.h"

namespace rauha {
namespace {

constexpr std::string_view kDirectories[] = {"__pycache__", ".pytest_cache",      ".mypy_cache",   ".ruff_cache", ".hypothesis",
                                             ".ccache",     ".ipynb_checkpoints", ".parcel-cache", ".turbo",      ".sass-cache"};
constexpr struct { std::string_view suffix, group; } kSuffixes[] = {{".pyc", "*.pyc"}, {".pyo", "*.pyc"}};

}  // namespace

std::string_view cacheGroup(std::string_view path) noexcept {
  std::string_view previous;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    for (const auto known : kDirectories)
      if (sameButCase(name, known)) return known;
    if (sameButCase(previous, "node_modules") && sameButCase(name, ".cache")) return "node_modules/.cache";
    if (path.empty())
      for (const auto& known : kSuffixes)
        if (name.size() >= known.suffix.size() && sameButCase(name.substr(name.size() - known.suffix.size()), known.suffix))
          return known.group;
    previous = name;
  }
  return {};
}

}  // namespace rauha
