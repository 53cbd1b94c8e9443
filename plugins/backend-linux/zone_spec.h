#pragma once
// A zone as asked for: the C records of rauha_zone_spec checked and turned into values. Pure; any thread. What is not understood is refused
// (rauha::Error, unsupported, naming it), never dropped.

#include <rauha/plugin.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plugins/linux-common/cgroup_create.h"

namespace rauha::backend {

struct DeviceGrant {
  std::string path;    // below /dev, on the host
  std::string access;  // letters of rwm
};

struct ZoneSpec {
  std::string zoneId;
  std::string hostname;
  bool ephemeral = false;
  bool hostUserNamespace = false;
  bool prepare = false;  // without rules and limits, which come later
  uint32_t network = RAUHA_NETWORK_ISOLATED;
  cgroup::Limits limits;
  uint32_t openFiles = 0;  // 0: not set
  uint64_t coreBytes = 0;
  std::vector<uint8_t> capabilities;  // numbers, ascending, each once
  std::vector<std::string> syscallDeny, syscallAllow;
  std::vector<DeviceGrant> devices;
  bool noSuidBits = false;
  std::vector<std::string> require;  // names of layers
};

// The names a policy's `require` may hold, in the order in which layers are reported.
const std::vector<std::string>& layerNames();

// [a-z0-9_], 1 to 40 bytes: safe as a file name. Throws invalid.
void checkZoneId(std::string_view zoneId);

// A specification for zone_create.
ZoneSpec readZoneSpec(const rauha_zone_spec& raw);
// One for zone_update: limits only, any other record is refused.
ZoneSpec readZoneUpdate(const rauha_zone_spec& raw);

}  // namespace rauha::backend
