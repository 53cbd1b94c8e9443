#pragma once
// Builds one zone's boundary out of a Boundary message: zone init in fresh namespaces, born in the zone's groups, with the id maps. The
// namespaces are made together, so that they belong to the zone's user namespace. Everything dies when the Lifeline's control socket
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
  bool prepared = false;        // a second message follows, with the policy's part
  char* commandLine = nullptr;  // of the shim; writable, main's
  size_t commandLineSize = 0;
  std::vector<cgroup::Member> groups;
};

struct Decisions {
  BoundaryPlan plan;
  agent::Zone zone;  // without the living parts
};

// Waits for the message. Refuses what would weaken a zone in silence: no seccomp program with a user namespace, no v2 group.
Decisions readBoundary(int fd);
// The second message for a boundary that was prepared: takes the policy's part out of it. Throws when it speaks of another boundary.
void readPolicyPart(int fd, Decisions& decisions);

// What keeps the zone alive.
struct Lifeline {
  UniqueFd control;
  UniqueFd emptyRoot;  // zone init's; letting go of it waits for the kernel, so it is kept until the end
};
// Makes zone init and fills zone.init and initPid. Single-threaded caller. On failure there may be processes in the groups.
Lifeline beginBoundary(const BoundaryPlan& plan, const cgroup::ZoneGroups& groups, agent::Zone& zone);
// Waits until zone init has become what it is, and fills zone.userNamespaceFd. What does not need it is done in between.
void finishBoundary(const Lifeline& lifeline, agent::Zone& zone);

}  // namespace rauha::shim
