#pragma once
// Which paths of a repository can make the host run code once a change to them is applied: git's hooks and configuration, editor and agent
// settings, continuous integration, shell start-up files. Used by core, which marks changes, and by the command line, which asks for
// --include-protected. Pure functions of a path's bytes; any thread.
//
// What a path alone cannot tell is not here: set-user-ID bits and file capabilities (core/changes marks those by the file's state), a
// repository whose directory is not called ".git" or "*.git", what core.hooksPath of the host's git configuration names (core/changes finds
// both), and what an include of that configuration names. Letters are compared without case (ASCII): ".GIT/hooks" is git's where the file
// system folds case.

#include <span>
#include <string>
#include <string_view>

namespace rauha {

// path: relative to the repository's top, components separated by "/", no leading "./". Why it is protected ("git hook", "git
// configuration", "git attributes", "git submodules", "git rebase script", "git operation under way", "git object replacement", "editor
// settings", "agent settings", "development container", "continuous integration", "shell start-up file", "directory environment", "debugger
// or interpreter start-up file", "tool settings", "version control settings"); empty: it is not. A directory that only holds such files
// (".vscode", ".git/hooks") counts as well. The text is static.
std::string_view protectedReason(std::string_view path) noexcept;

// As above, and what the operator added (`[changes] protected` of rauha.toml): "build file". A pattern without "/" is compared with each
// component ("Makefile", "*.mk"), one with "/" with the path from the top and everything below it ("tools/build"). "*" and "?" match
// within a component.
std::string_view protectedReason(std::string_view path, std::span<const std::string> patterns) noexcept;

// Of what lies in a directory that git takes for a repository, whatever its name: `inner` is relative to it.
std::string_view gitDirectoryReason(std::string_view inner) noexcept;

// Could a path below this one be protected by where it stands (".github" for ".github/workflows", "tools" for the pattern "tools/build")?
// Then a symbolic link put here, or another type, leads past that: what it names is protected under no name.
std::string_view ancestorReason(std::string_view path, std::span<const std::string> patterns = {}) noexcept;

// Does a symbolic link at `path` lead out of the tree, as far as its text tells? Then the next program that writes "into the repository"
// writes elsewhere. Absolute ones do, and so do those that climb above the top; one with ".." after a name is taken for such, since that
// name may be a link itself.
bool linkLeavesTree(std::string_view path, std::string_view target) noexcept;
inline constexpr std::string_view kLinkOut = "link out of the tree";
inline constexpr std::string_view kWorldWritable = "writable by everybody";

// Is `path` this one, or below it?
bool isAtOrBelow(std::string_view path, std::string_view top) noexcept;

// Can protectedReason use it? Not empty, no empty component, no "." or "..", no NUL, at most 255 bytes.
bool isProtectedPattern(std::string_view pattern) noexcept;

}  // namespace rauha
