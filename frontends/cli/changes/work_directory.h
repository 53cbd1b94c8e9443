#pragma once
// Apply's own directory at the tree's top, ".rauha-apply-…", mode 0700: new content is made ready in it, what is replaced or removed goes
// through it, and a rename moves whole files between it and their place. What a killed apply left of it is removed by the next one.
//
// A name alone proves nothing: only an empty shell of ours is removed (our user's, mode 0700, nothing in it but files "s<N>" and "u<N>",
// symbolic links and empty directories of such names); anything else is left and named.

#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::cli {

class WorkDirectory final {
 public:
  // top: the tree's. Throws Error "repository".
  explicit WorkDirectory(int top);
  // Removes what is left in it, and it.
  ~WorkDirectory();
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  int fd() const { return fd_.get(); }
  // A name that is not used: "s0", "u1", …
  std::string next(char kind) { return kind + std::to_string(count_++); }
  // Removes one name; an empty directory too. Never throws: the destructor tries again.
  void drop(const std::string& name) const noexcept;

 private:
  int top_;
  std::string name_;
  UniqueFd fd_;
  uint64_t count_ = 0;
};

// Returns the names of those that look like a work directory and were not removed.
std::vector<std::string> removeLeftovers(int top);

}  // namespace rauha::cli
