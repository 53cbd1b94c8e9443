#pragma once
// Starts a process of a zone and leaves it blocked right before its exec, with everything armed. Two ways in: a container's first process
// builds the container's root and namespaces, a further one joins those of the first.
//
// The child is a fork of the agent (single-threaded, so it may allocate) and is born in the zone's v2 group. It reports over a socket
// (report.h); `go` lets it exec. It is not dumpable from its birth (the shim is not) to its exec: nobody in the zone can look into it.
//
// WARNING: this holds by the user namespace. In a zone without one, sys_ptrace is the host's: once something foreign runs there, it can
// trace a further process while that one still has the host's rights. SECURITY.md tells it; the zone's first process has nobody to fear.

#include <memory>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "plugins/agent/plan.h"
#include "plugins/agent/report.h"
#include "plugins/agent/rootfs.h"
#include "plugins/agent/zone.h"
#include "plugins/linux-common/cgroup.h"

namespace rauha::agent {

// The agent's ends; all non-blocking, all O_CLOEXEC.
struct Spawned {
  pid_t pid = 0;
  UniqueFd pidfd;
  UniqueFd control;                     // report.h; write one byte to let the process exec
  UniqueFd stdinWrite, stdout, stderr;  // pipes; empty with a terminal, whose master arrives over `control`
};

// What the descriptors sent over `control` are: the byte beside them.
inline constexpr char kTagTerminal = 'T', kTagRuleset = 'L', kTagWritableLayer = 'W';

struct SpawnContext {
  const Zone& zone;
  const cgroup::ZoneGroups& groups;
  bool noSuid = false;  // also arm the filter against set-user-ID bits
};

Spawned spawnContainer(const SpawnContext& context, const RootPlan& root, const ProcessPlan& process, PreparedRoot prepared);

struct JoinTarget {
  int pidfd = -1;    // the container's first process, alive
  int ruleset = -1;  // its Landlock ruleset; -1: none
  int landlockAbi = 0;
};
Spawned spawnInContainer(const SpawnContext& context, const JoinTarget& target, const ProcessPlan& process);

}  // namespace rauha::agent
