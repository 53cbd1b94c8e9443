#pragma once
// What the shim is told about its zone: the Boundary message of schemas/boundary.capnp.

#include <string>
#include <vector>

#include "core/base/fd.h"
#include "plugins/backend-linux/zone_spec.h"
#include "plugins/linux-common/cgroup.h"

namespace rauha::backend {

struct BoundaryParts {
  std::vector<cgroup::Member> groups;
  uint32_t hostIdBase = 0;
  std::string filter, noSuidFilter;  // BPF bytes; noSuidFilter empty: not wanted
  std::string socketPath;            // empty: clients cannot come back (ephemeral)
  std::string instance;
};

// Serialized (unpacked) into a socket whose other end the shim reads: one message, the shim's to have whole or not at all. A shim that
// is gone is no error here: its outcome tells.
void sendBoundary(int socket, const ZoneSpec& spec, const BoundaryParts& parts);

}  // namespace rauha::backend
