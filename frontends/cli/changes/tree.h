#pragma once
// A host's tree, opened with the user's rights, and everything beneath it: reached by openat2(2) from the top's descriptor, through no
// symbolic link, no magic link, no mount and no "..". A link that is swapped in while we work makes the call fail, it never leads
// elsewhere.
//
// WARNING: no function here may take a path that the kernel would resolve by itself. Names go to *at() calls beside a parent's descriptor.

#include <cstdint>
#include <string>

#include "core/base/digest.h"
#include "frontends/cli/changes/change.h"

namespace rauha::cli {

// What stands at a path now.
struct Found {
  int parentError = 0;  // errno of the way there; 0: the parent is a directory of the tree
  FileState state;      // without digest and extended attributes
  uint64_t links = 0;
};

class Tree final {
 public:
  // The directory at `path`. Throws Error "repository".
  explicit Tree(const std::string& path);

  const std::string& path() const { return path_; }
  int top() const { return top_.get(); }
  uint64_t device() const { return device_; }
  uint64_t inode() const { return inode_; }
  // Throws Error "repository" (conflict) unless it is the tree that the task saw.
  void mustBe(const BaseTree& base) const;

  // An O_PATH descriptor of a directory ("": the top). Empty, with `error` set: it cannot be reached.
  UniqueFd directory(const std::string& path, int& error) const;
  // Never throws for what a hostile tree can hold; the parent's failure is in the answer.
  Found look(const std::string& path) const;
  // A regular file for reading; empty with errno when it is none or cannot be read.
  UniqueFd openFile(const std::string& path, int& error) const;

 private:
  std::string path_;
  UniqueFd top_;
  uint64_t device_ = 0, inode_ = 0;
};

// lstat of a name in a directory; type none when there is nothing. Throws Error "repository".
FileState stateAt(int directory, const std::string& name, uint64_t* links = nullptr);
// A regular file or directory by name, no symbolic link, without blocking on what was swapped in. Empty with errno.
UniqueFd openAt(int directory, const std::string& name, int flags) noexcept;
// SHA-256 of what can be read from the start. Throws Error "repository".
std::string digestOf(int fd, const std::string& what);
// user.*, security.capability and access control lists, sorted. Throws Error "repository".
std::vector<Xattr> xattrsOf(int fd, const std::string& what);

}  // namespace rauha::cli
