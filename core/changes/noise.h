#pragma once
// Which changes a reviewer need not read one by one: what tools write beside the work. Noise is listed, counted and kept like every
// other change, and only shown as one line a group; what of it is a cache (core/base/cache_paths.h) is not applied unasked. A pure
// function; any thread. The text is static.

#include <string_view>

namespace rauha::changes {

inline constexpr std::string_view kGitIndex = ".git/index";  // of a repository, a submodule, a worktree
inline constexpr std::string_view kTimes = "times";          // nothing but the modification time differs

// path: relative to the repository's top. Empty: no noise by its path.
std::string_view noiseGroup(std::string_view path) noexcept;

// The index of a repository, a submodule or a worktree: git refreshes what it knows about the files' times at every look.
bool isGitIndex(std::string_view path) noexcept;

}  // namespace rauha::changes
