#pragma once
// Ending every process of a control group. For the groups of our own zones only: the caller made the group.

#include <string>

namespace rauha::cgroup {

// SIGKILL to everything in and below a v2 group, forks in flight included: cgroup.kill (Linux 5.14), else killListed. A group that is gone
// is a success. Does not wait for the processes to be gone.
void killGroup(const std::string& v2Path);
// SIGKILL to what the group's cgroup.procs lists, again and again until a reading finds nothing new alive; for v1 groups and for kernels
// without cgroup.kill. A pid is only signalled through a pidfd and after a second look that it still belongs to the group.
void killListed(const std::string& path);

}  // namespace rauha::cgroup
