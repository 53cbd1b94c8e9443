#include "plugins/backend-linux/zone_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::backend {
namespace {

using nlohmann::json;

constexpr const char* kName = "/boundary.json";

using Limit = std::optional<uint64_t> cgroup::Limits::*;
constexpr std::pair<const char*, Limit> kLimits[] = {
    {"cpu_millis", &cgroup::Limits::cpuMillis},     {"cpu_weight", &cgroup::Limits::cpuWeight},
    {"memory_bytes", &cgroup::Limits::memoryBytes}, {"pids", &cgroup::Limits::pids},
    {"io_weight", &cgroup::Limits::ioWeight},       {"io_read_bps", &cgroup::Limits::ioReadBps},
    {"io_write_bps", &cgroup::Limits::ioWriteBps},
};

json toJson(const ZoneRecord& record) {
  json limits = json::object(), groups = json::array();
  for (const auto& [name, member] : kLimits)
    if (const auto& value = record.limits.*member) limits[name] = *value;
  for (const auto& m : record.groups) groups.push_back({{"controller", m.controller}, {"path", m.path}});
  return {{"zone", record.zoneId},
          {"shim_pid", record.shim.pid},
          {"shim_start_ticks", record.shim.startTicks},
          {"host_id_base", record.hostIdBase},
          {"ephemeral", record.ephemeral},
          {"cgroups", std::move(groups)},
          {"limits", std::move(limits)}};
}

// The library would convert whatever looks like a number, and what is out of range by undefined behaviour.
template <typename T>
T number(const json& in) {
  if (!in.is_number_unsigned() || in.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<T>::max()))
    throw Error("backend", Code::corrupt, "a number of a zone's record is none");
  return static_cast<T>(in.get<uint64_t>());
}

}  // namespace

void writeRecord(const std::string& directory, const ZoneRecord& record) {
  const std::string path = directory + kName, fresh = path + ".new";
  UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throwErrno("backend", "make " + fresh);
  writeAll(fd.get(), toJson(record).dump(), fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) throwErrno("backend", "rename " + fresh);
}

std::optional<ZoneRecord> readRecord(const std::string& directory) {
  if (::access((directory + kName).c_str(), R_OK) != 0) return std::nullopt;
  try {
    const json in = json::parse(readFile(directory + kName, 64 << 10));
    ZoneRecord out;
    out.zoneId = in.at("zone").get<std::string>();
    out.shim = {number<pid_t>(in.at("shim_pid")), number<uint64_t>(in.at("shim_start_ticks"))};
    out.hostIdBase = number<uint32_t>(in.at("host_id_base"));
    out.ephemeral = in.at("ephemeral").get<bool>();
    for (const json& m : in.at("cgroups")) out.groups.push_back({m.at("controller").get<std::string>(), m.at("path").get<std::string>()});
    for (const auto& [name, member] : kLimits)
      if (in.at("limits").contains(name)) out.limits.*member = number<uint64_t>(in["limits"][name]);
    return out;
  } catch (const json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace rauha::backend
