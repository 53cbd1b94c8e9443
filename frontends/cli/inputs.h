#pragma once
// What a command opens for the daemon: repository, image source and policy, with the rights of whoever called us. The daemon is root and
// must not open a caller's path; it gets descriptors and text.
//
// WARNING: nothing here may run with more rights than the caller's; that is the whole point of doing it in this program.

#include <optional>
#include <string>
#include <string_view>

#include "core/base/fd.h"

namespace rauha::cli {

// The directory, open for reading. forWriting: also checks that the caller may write in it. Throws Error "repository".
UniqueFd openRepository(const std::string& path, bool forWriting);

// Where the repository's `.git` is a file, as in a linked worktree or a submodule: the directory that it names, when that is not below the
// repository. Empty: it is, or there is no such file. path: the repository's, absolute.
std::string gitDirectoryOutside(int repository, const std::string& path);

// The path inside "dir:", "tar:", "oci:", "oci-archive:" and "docker-archive:" references, opened. A tag (or digest) behind it is cut off
// by trying the longest path that exists. The scheme of another plugin is recognized by a path that begins with '/', "./" or "../" and is a
// directory or a regular file. No descriptor for every other reference. Throws Error "image".
UniqueFd openImageSource(const std::string& reference);

struct PolicyText {
  std::string toml;
  std::string source;  // what the user wrote
};
// A built-in policy's name (task, standard, strict, privileged) or a file of at most 1 MiB. A name wins over a file of that name: "./task"
// is the file. Throws Error "policy".
PolicyText readPolicy(const std::string& nameOrPath);

}  // namespace rauha::cli
