#include "core/policy/enforcer_records.h"

#include <rauha/draft/enforcer.h>

namespace rauha::policy {

std::vector<ZoneRecord> enforcerRecords(schema::Policy::Reader policy, bool audit) {
  std::vector<ZoneRecord> out;
  out.push_back({RAUHA_ENFORCE_MODE, audit ? 1u : 0u, ""});
  out.push_back({RAUHA_ENFORCE_PTRACE, 1, ""});  // inside of the zone: the boundary allows it
  for (const auto capability : policy.getCapabilities())
    out.push_back({RAUHA_ENFORCE_CAPABILITY, 0, std::string(capability.begin(), capability.size())});
  // An empty set would read as "unrestricted".
  if (policy.getCapabilities().size() == 0) out.push_back({RAUHA_ENFORCE_NO_CAPABILITIES, 1, ""});
  return out;
}

}  // namespace rauha::policy
