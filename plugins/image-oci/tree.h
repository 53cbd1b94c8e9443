#pragma once
// Work on directory trees that hostile content filled: everything by descriptor, never by path, so that no link in the tree leads out of
// it. Pure functions; [any] thread, as long as nobody else works on the same tree.

#include <sys/stat.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::oci {

// Throws Error limit with the object's name when the disk is full, and what osError makes of every other errno.
[[noreturn]] void throwIo(const std::string& what);

// A directory below `at`, links in the way followed only inside of `at` (as if it were the root). -1 with errno when it cannot be opened.
int openInRoot(int at, const std::string& path, int flags) noexcept;
// A name directly in `at`, never a link. Throws.
UniqueFd openChildDir(int at, const std::string& name, const std::string& what);

// Removes a file or a whole tree, links as links. Nothing there: no error. Throws Error; what could be removed is gone then.
void removeTree(int at, const std::string& name);

// Every directory below `root` and `root` itself, children before parents, with a readable descriptor.
void forEachDir(int root, const std::function<void(int fd, const struct stat& meta)>& visit);

// Makes `path` (mode 0700) below `at` unless it is there, and opens it.
UniqueFd makeDir(int at, const std::string& name, const std::string& what);

// The names in a directory, "." and ".." left out, sorted.
std::vector<std::string> namesIn(int dir, const std::string& what);

}  // namespace rauha::oci
