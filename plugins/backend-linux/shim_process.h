#pragma once
// The zone's shim as a process: starting it, hearing whether the boundary stands, finding it again, ending it.
//
// A shim is only ever signalled through a pidfd, and a pidfd that was not there from the start is only used after the process's start
// time (or its command line) proved it to be the shim. Any thread.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/base/fd.h"
#include "plugins/backend-linux/shim_program.h"

namespace rauha::backend {

struct ShimIdentity {
  pid_t pid = 0;
  uint64_t startTicks = 0;  // field 22 of /proc/<pid>/stat: together with the pid, unique until the next boot
};

struct StartedShim {
  ShimIdentity identity;
  UniqueFd pidfd;
  UniqueFd agent;     // our end of the agent protocol
  UniqueFd outcome;   // one Outcome message will come here
  UniqueFd boundary;  // a socket: what goes in is what the shim reads as its boundary; closed without, the shim ends
};

struct ShimStart {
  ShimProgram& program;
  std::string zoneId;    // argv[1]
  std::string instance;  // argv[2]
  int diagnostics = -1;  // where its standard error goes, borrowed; -1: nowhere
};

// A caller's patience: what makes a wait end early. Returns false once the caller gave up.
struct Patience {
  int cancelFd = -1;       // readable: the caller gave up
  int64_t deadlineNs = 0;  // CLOCK_MONOTONIC
};

// Starts the shim, which waits for its boundary, as leader of a session of its own with descriptors 0-5 and nothing else.
StartedShim startShim(const ShimStart& start);
// Waits for the Outcome. Throws the shim's own error; cancelled, deadline, or internal when it dies without a word (the text then quotes
// `diagnostics()`).
void awaitOutcome(const StartedShim& shim, const Patience& patience, const std::function<std::string()>& diagnostics);

// 0 when there is no such process.
uint64_t startTicksOf(pid_t pid);
// A pidfd of exactly that process; empty when it is gone.
UniqueFd openShim(const ShimIdentity& identity);
// A running shim of that zone, found by its command line; for when its record was lost.
std::optional<ShimIdentity> findShim(const std::string& instance, const std::string& zoneId);
// Zone ids of all running shims of the instance, found by their command lines.
std::vector<std::pair<std::string, ShimIdentity>> findShims(const std::string& instance);
// Asks it to end (SIGTERM), insists after a second (SIGKILL), and waits. Throws busy when it is still there at the deadline.
void endShim(int pidfd, pid_t pid, int64_t deadlineNs);

}  // namespace rauha::backend
