#pragma once
// rauha-shim's file, through a mount of its own that is read-only for ever.
//
// A process of a privileged zone reaches the shim's file by /proc/<pid>/exe, with the mount through which it was executed: on the host's
// own mount it could write to it, change its mode or owner. The mount here is in no namespace, so nobody can make it writable again. It is
// made once, and again when the file was replaced (an upgrade under a running daemon). A copy in memory would do as well, for some
// megabytes a daemon, and not where the machine forbids executable memfds. Any thread.

#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/fd.h"

namespace rauha::backend {

class ShimProgram final {
 public:
  // path: absolute, of rauha-shim or of a link to it. Nothing is opened yet.
  explicit ShimProgram(std::string path) : path_(std::move(path)) {}

  // Where to execute it from, for as long as the object is kept.
  struct Place {
    UniqueFd directory;  // O_PATH, on the mount
    std::string name;    // in that directory
  };
  // Throws when there is no such file, naming it.
  std::shared_ptr<const Place> open();
  const std::string& path() const noexcept { return path_; }

 private:
  // Which file it was that the place was made for.
  struct Version {
    uint64_t device = 0, inode = 0;
    int64_t changedNs = 0;
    bool operator==(const Version&) const = default;
  };
  Version version() const;

  const std::string path_;
  std::mutex mutex_;
  Version known_;
  std::shared_ptr<const Place> place_;
};

}  // namespace rauha::backend
