#pragma once
// One daemon for one state directory: a locked file that holds its owner's pid. The kernel drops the lock with its owner, however it ends.

#include <string>

#include "core/base/fd.h"

namespace rauha::store {

class InstanceLock final {
 public:
  // busy, naming the owner's pid, when another holds it. The file stays; only the lock counts.
  explicit InstanceLock(const std::string& path);

 private:
  UniqueFd file_;
};

}  // namespace rauha::store
