#pragma once
// One apply of a user to a tree at a time: its work directory is a leftover to the next one.
//
// Not by a lock on the tree: a task that has it mounted, read-only too, reaches the same inode and could hold the lock for good. The lock
// is a file of the user's own runtime directory, beside which no zone has anything, named by the tree's device and inode. kill -9 leaves it
// there, empty and unlocked; the next apply takes and removes it. Two users are not kept apart here: neither takes the other's work
// directory, and what changes meanwhile is a conflict.

#include <string>
#include <vector>

#include "core/base/fd.h"
#include "frontends/cli/changes/tree.h"

namespace rauha::cli {

class ApplyLock final {
 public:
  // Throws Error "repository": busy, when another process of this user has it; io, when no directory can be used.
  explicit ApplyLock(const Tree& tree);
  // The same below the first of these directories that is there and can be written.
  ApplyLock(const Tree& tree, const std::vector<std::string>& parents);
  ApplyLock(const ApplyLock&) = delete;
  ApplyLock& operator=(const ApplyLock&) = delete;
  // The file and its directory go.
  ~ApplyLock();

 private:
  std::string parent_, file_;
  UniqueFd fd_;
};

}  // namespace rauha::cli
