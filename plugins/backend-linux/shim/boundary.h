#pragma once
// Builds one zone's boundary out of a Boundary message: zone init in fresh namespaces, born in the zone's groups, with the id maps. The
// namespaces are made together, so that they belong to the zone's user namespace. Everything dies when the returned object's control socket
// closes.

#include <schemas/boundary.capnp.h>

#include <string>
#include <vector>

#include "core/base/fd.h"
#include "plugins/agent/zone.h"
#include "plugins/linux-common/cgroup.h"

namespace rauha::shim {

struct BoundaryPlan {
  std::string hostname, socketPath, agentVersion;
  bool ephemeral = true;
  char* commandLine = nullptr;  // of the shim; writable, main's
  size_t commandLineSize = 0;
  std::vector<cgroup::Member> groups;
};

struct Decisions {
  BoundaryPlan plan;
  agent::Zone zone;  // without the living parts
};

// From the sealed memfd. Refuses what would weaken a zone in silence: no seccomp program with a user namespace, no v2 group.
Decisions readBoundary(int fd);

// Makes zone init and fills zone.init, initPid and userNamespaceFd. The returned socket keeps the zone alive. Single-threaded caller.
UniqueFd buildBoundary(const BoundaryPlan& plan, const cgroup::ZoneGroups& groups, agent::Zone& zone);

}  // namespace rauha::shim
