#pragma once
// The backend's view of a policy: flags, network and tagged records of <rauha/backend.h>, ready to cross the plugin border.
//
// A value without pointers into the policy. Every record is critical: a backend that does not know a tag refuses the zone. A limit of 0
// ("no limit") and a weight of 100 (the kernel's default) make no record.

#include <schemas/policy.capnp.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rauha::policy {

namespace dangerous {
class HostUserNamespace;
class HostNetwork;
}  // namespace dangerous

struct ZoneRecord {
  uint32_t tag = 0;     // RAUHA_ZONE_*
  uint64_t number = 0;  // of text records 0
  std::string text;
};

// What zone_create gets apart from the ids. flags: RAUHA_ZONE_USERNS_HOST or 0; network: RAUHA_NETWORK_*.
struct ZoneView {
  uint32_t flags = 0;
  uint32_t network = 0;
  std::vector<ZoneRecord> records;
};

std::vector<ZoneRecord> zoneRecords(schema::Policy::Reader policy);

// The whole view. A policy that asks for the host's user namespace or network is refused (class "policy", denied) unless the token of
// core/policy/dangerous/ is passed that was made from it: who weakens a zone includes that header, and a reviewer sees the include.
ZoneView zoneView(schema::Policy::Reader policy, const dangerous::HostUserNamespace* userNamespace = nullptr,
                  const dangerous::HostNetwork* network = nullptr);

}  // namespace rauha::policy
