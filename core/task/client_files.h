#pragma once
// System calls on what a client handed over. A descriptor's file system may be served by the client itself (FUSE) or by a machine that is
// gone (NFS), and then even fstat(2) never returns: none of them runs on the event loop.
//
// One call of a user at a time, on a thread that holds up nobody else; one that does not return in kPatience is given up, and the user's
// further ones are refused until it does. Of root, who is trusted and works on everybody's trees, it is one call for each path.
// Owner: the TaskService. Thread: the event loop.

#include <kj/timer.h>
#include <sys/stat.h>

#include <string>

#include "core/base/coro.h"
#include "core/base/fd.h"
#include "core/base/worker_pool.h"

namespace rauha {

class ClientFiles final {
 public:
  static constexpr kj::Duration kPatience = 10 * kj::SECONDS;
  explicit ClientFiles(kj::Timer& timer, kj::Duration patience = kPatience) : timer_(timer), patience_(patience) {}

  // Of the repository that the client opened; duplicated. path: for messages. Throws Error "repository": deadline, or what fstat(2) says.
  Task<struct stat> stat(int fd, std::string path, uint32_t uid);
  const WorkerPool& workers() const noexcept { return workers_; }

 private:
  kj::Timer& timer_;
  const kj::Duration patience_;
  WorkerPool workers_{16, 4096};
};

}  // namespace rauha
