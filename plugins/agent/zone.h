#pragma once
// The facts about one zone that every process started in it needs: ids, groups, namespaces, what to arm. Made once by whoever built the
// boundary (the shim, or the guest agent), then only read.

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "plugins/linux-common/cgroup.h"

namespace rauha::agent {

struct Zone {
  std::string id, instance;
  bool userNamespace = true;
  uint32_t hostIdBase = 0;  // zone id N is host id hostIdBase+N; 0 without a user namespace
  bool ownNetwork = true;   // false: the host's network namespace
  bool pureV2 = false;      // the zone's groups are all in the v2 tree
  UniqueFd init;            // pidfd of zone init
  pid_t initPid = 0;
  UniqueFd userNamespaceFd;  // of zone init; empty without a user namespace
  std::vector<struct sock_filter> seccomp, seccompNoSuid;
  uint64_t capabilities = 0;
  uint32_t openFiles = 1024;
  uint64_t coreBytes = 0;
  bool landlock = true;

  uint32_t maxId() const noexcept { return userNamespace ? 65535 : 0xfffffffe; }
  uint32_t hostId(uint32_t zoneId) const noexcept { return hostIdBase + zoneId; }
};

}  // namespace rauha::agent
