#pragma once
// The enforcer's view of a policy: tagged records of <rauha/draft/enforcer.h>. A value without pointers into the policy. Every record is
// critical: an enforcer that cannot enforce one refuses the zone.

#include <schemas/policy.capnp.h>

#include <vector>

#include "core/policy/zone_records.h"

namespace rauha::policy {

// audit: the enforcer only counts (RAUHA_ENFORCE_MODE 1).
std::vector<ZoneRecord> enforcerRecords(schema::Policy::Reader policy, bool audit);

}  // namespace rauha::policy
