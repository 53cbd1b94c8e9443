#pragma once
// Reading a tree that nobody vouches for, by descriptors: no function here follows a symbolic link, opens anything but a regular file or a
// directory, or resolves more than one name. What vanishes between two looks (the host's tree is alive) is absent, not an error.

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "core/changes/change.h"

namespace rauha::changes {

using Xattrs = std::vector<std::pair<std::string, std::string>>;

struct Attributes {
  Xattrs visible;  // user.* and security.capability, sorted by name
  Xattrs acls;     // POSIX ACLs (acl.h), with the ids as this file system has them
  // Of overlayfs, trusted.overlay.…:
  bool whiteout = false, opaque = false;
  bool copiedUp = false;      // "origin": was made from a file of the lower layer
  std::string origin;         // … from which one, of a directory: overlayfs's struct ovl_fb
  std::string notUnderstood;  // an attribute or a value that would be read wrongly
};

// Entry of a directory. A name is one component.
std::optional<struct stat> lookup(int directory, const char* name);
inline std::optional<struct stat> lookup(int directory, const std::string& name) { return lookup(directory, name.c_str()); }
// Sorted by bytes, without "." and "..".
std::vector<std::string> names(int directory);
// The same as the file system has them, each with a NUL behind it: for those who look at many and keep few.
std::string unsortedNames(int directory);
// Empty: it is no directory (any more).
UniqueFd openDirectory(int directory, const std::string& name);
// Empty: it is no regular file (any more).
UniqueFd openRegular(int directory, const std::string& name);
// As openRegular for a path of several components beneath the directory, through no link. Empty also when it is too long.
UniqueFd openRegularBeneath(int directory, const std::string& path);
// … for a directory.
UniqueFd openDirectoryBeneath(int directory, const std::string& path);
std::string readLink(int directory, const std::string& name);
// Of regular files and directories; others have none that matter. capabilityRoot: a file capability that is bound to this user
// namespace's root is read as one that is bound to none.
Attributes readAttributes(int directory, const std::string& name, const struct stat& st, uint32_t capabilityRoot);
// Is this directory the one that such an origin names? False also where its file system cannot tell.
bool isOrigin(const std::string& origin, int directory);
// "" names the directory itself. Errors with `name` say so. Removes whatever `name` is, with everything below.
void removeTree(int directory, const std::string& name);

FileType typeOf(const struct stat& st) noexcept;
// Without digest, target and attributes.
FileState stateOf(const struct stat& st, uint32_t uid, uint32_t gid);
int64_t nanoseconds(const struct timespec& t) noexcept;

}  // namespace rauha::changes
