#pragma once
// One zone's control groups, on pure v2 or on the v1/v2 hybrid layout.
//
// v2: one group holds the zone, limits included. Hybrid: the v2 group is for membership, kill, freeze and identity; limits are in the v1
// controllers. Who creates and removes groups is the backend; the shim opens them by the paths of the Boundary message, reads usage, kills,
// and watches for out-of-memory. Single-threaded use per object. Errors: rauha::Error of class "backend".

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::cgroup {

enum class Layout { v2, hybrid };

// Where the trees of this machine are. Detected from /proc/self/mountinfo and /proc/self/cgroup, never assumed.
struct Hierarchies {
  Layout layout = Layout::v2;
  std::string v2Root;                                   // mount point of the v2 tree; empty: none, nothing can run
  std::vector<std::pair<std::string, std::string>> v1;  // controller -> mount point; empty on pure v2
  std::vector<std::string> v2Controllers;               // of the v2 root's cgroup.controllers
};
Hierarchies detect();

struct Member {
  std::string controller;  // "" for v2
  std::string path;        // absolute directory
};

struct Usage {
  uint64_t cpuUserUs = 0, cpuSystemUs = 0, memoryPeakBytes = 0, pidsPeak = 0, ioReadBytes = 0, ioWriteBytes = 0, oomKills = 0,
           pidsRefused = 0;
  std::vector<std::string> partial;  // what is missing or inexact, one line each
};

// The groups of one living zone. Opened, not owned: closing it removes nothing.
class ZoneGroups final {
 public:
  explicit ZoneGroups(std::vector<Member> members);
  // Descriptor of the v2 group for CLONE_INTO_CGROUP; borrowed.
  int v2Fd() const noexcept { return v2_.get(); }
  // Descriptors of the v1 groups' `tasks` files, opened for writing by the privileged side; a single-threaded child writes "0" to each to
  // enrol itself (through `tasks`: `cgroup.procs` waits 6-14 ms for an RCU grace period). Borrowed, O_CLOEXEC.
  std::vector<int> v1TaskFds() const;
  Usage usage() const;
  // SIGKILL to every process in the zone, new ones included. Uses cgroup.kill (5.14), else a loop of reading cgroup.procs.
  void kill();
  void freeze(bool frozen);
  // True when no process is left.
  bool empty() const;
  // Readable (POLLIN or POLLPRI) when the zone may have run out of memory; -1 when the kernel cannot tell. Borrowed.
  int oomFd() const noexcept { return oom_.get(); }
  short oomPollEvents() const noexcept { return oomEvents_; }
  // Has the memory limit killed (v2: memory.events oom_kill, v1: memory.oom_control oom_kill) since the groups were made?
  bool outOfMemory() const;
  const std::vector<Member>& members() const noexcept { return members_; }

 private:
  std::string pathOf(std::string_view controller) const;  // "" when the zone has no such group
  std::vector<Member> members_;
  UniqueFd v2_;
  std::vector<UniqueFd> tasks_;
  UniqueFd oom_;
  UniqueFd oomControl_;
  short oomEvents_ = 0;
};

}  // namespace rauha::cgroup
