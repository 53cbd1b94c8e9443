#include <unistd.h>

#include "plugins/linux-common/cgroup_create.h"
#include "plugins/linux-common/cgroup_file.h"

namespace rauha::cgroup {
namespace {

// The kernel keeps memory limits in whole pages.
uint64_t wholePages(uint64_t bytes) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes / page * page;
}

}  // namespace

Limits merged(const Limits& now, const Limits& change) {
  Limits out = now;
  auto take = [&](std::optional<uint64_t> Limits::*member) {
    if (!(change.*member)) return;
    out.*member = *(change.*member) == 0 ? std::nullopt : change.*member;
  };
  for (auto member : {&Limits::cpuMillis, &Limits::cpuWeight, &Limits::memoryBytes, &Limits::pids, &Limits::ioWeight, &Limits::ioReadBps,
                      &Limits::ioWriteBps})
    take(member);
  return out;
}

std::vector<std::string> GroupTree::differences(const std::string& zoneId, const Limits& limits) const {
  std::vector<std::string> out;
  auto compare = [&](const std::string& file, std::optional<uint64_t> wish) {
    const auto is = readNumber(file);
    // A controller that this machine lacks was reported when the zone was made; it did not go away.
    if (wish && is && *is != *wish) out.push_back(file + " is " + std::to_string(*is) + ", and was set to " + std::to_string(*wish));
  };
  bool v1 = false;
  if (const std::string group = groupFor(zoneId, "memory", v1); !group.empty() && limits.memoryBytes)
    compare(group + (v1 ? "/memory.limit_in_bytes" : "/memory.max"), wholePages(*limits.memoryBytes));
  if (const std::string group = groupFor(zoneId, "pids", v1); !group.empty()) compare(group + "/pids.max", limits.pids);
  if (const std::string group = groupFor(zoneId, "cpu", v1); !group.empty() && limits.cpuMillis && *limits.cpuMillis >= 10)
    compare(group + (v1 ? "/cpu.cfs_quota_us" : "/cpu.max"), *limits.cpuMillis * 100);
  return out;
}

}  // namespace rauha::cgroup
