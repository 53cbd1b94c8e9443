#pragma once
// Messages of schemas/container.capnp into plan.h's values. Unknown enumerants and union members are refused, never ignored.

#include <schemas/container.capnp.h>

#include "plugins/agent/plan.h"

namespace rauha::agent {
RootPlan readRoot(schema::RootfsPlan::Reader in, size_t descriptorCount);
ProcessPlan readProcess(schema::ProcessSpec::Reader in);
}  // namespace rauha::agent
