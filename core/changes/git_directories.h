#pragma once
// Repositories of git that no name gives away: git takes any directory with HEAD, objects and refs (or HEAD and commondir) for one and
// obeys its configuration and hooks, which run programs (git's setup.c, is_git_directory). Worker thread; nothing is changed.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/changes/change.h"

namespace rauha::changes {

// The changes that would make a directory of the resulting tree such a repository, or steer one: index in `changes` and a static reason
// ("git repository", "git configuration", "git hook", "git attributes"). What steers ".git" and "*.git" themselves is not looked at:
// protectedReason knows it. And what of any repository's objects is not harmless (git_objects.h). base: the host's tree; layer: the kept
// one.
std::vector<std::pair<size_t, std::string_view>> gitDirectoryChanges(const std::vector<Change>& changes, int base, int layer);

// Where the host's own repository has its hooks, relative to the top: its directory of them, what core.hooksPath of its configuration
// names, and what links of either lead to or through. A hook of one's own is often a link to a script of the tree. Only what is inside of
// the tree.
std::vector<std::string> hookPathsOf(int base);

}  // namespace rauha::changes
