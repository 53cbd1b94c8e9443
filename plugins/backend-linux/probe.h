#pragma once
// What this machine can arm, found by trying it in children that are gone afterwards: nothing is changed, nothing is left.

#include <string>
#include <vector>

#include "plugins/backend-linux/id_range.h"
#include "plugins/linux-common/cgroup_create.h"
#include "plugins/linux-common/layer.h"

namespace rauha::backend {

// The layers of a policy's `require`, and after them what zones need besides: "overlay", "idmapped_mounts", "disk_scratch", "shim".
std::vector<Layer> probeMachine(const cgroup::GroupTree& groups, const IdRanges& ids, uint32_t idBase,
                                const std::optional<std::string>& ioDevice, const std::string& stateDir, const std::string& shimProgram);

}  // namespace rauha::backend
