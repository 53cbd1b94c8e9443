#pragma once
// <runtime_dir>/zones/<zone id>/boundary.json: what a later daemon needs to find a zone again. Written atomically before the shim starts
// and again when it runs. Losing it costs speed and the check of limits, never the ability to destroy the zone: everything in it can be
// found.

#include <optional>
#include <string>
#include <vector>

#include "plugins/backend-linux/shim_process.h"
#include "plugins/linux-common/cgroup_create.h"

namespace rauha::backend {

struct ZoneRecord {
  std::string zoneId;
  ShimIdentity shim;        // pid 0: not started yet
  uint32_t hostIdBase = 0;  // 0: none taken
  bool ephemeral = false;
  std::vector<cgroup::Member> groups;
  cgroup::Limits limits;
};

// directory: the zone's own.
void writeRecord(const std::string& directory, const ZoneRecord& record);
// nullopt: there is none, or it cannot be read (a torn file of a crash).
std::optional<ZoneRecord> readRecord(const std::string& directory);

}  // namespace rauha::backend
