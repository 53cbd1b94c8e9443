#include "plugins/backend-linux/zone_spec.h"

#include <sys/capability.h>

#include <algorithm>
#include <functional>

#include "core/base/error.h"

namespace rauha::backend {
namespace {

constexpr size_t kHostnameBytes = 64;  // HOST_NAME_MAX
constexpr size_t kRecords = 4096;
constexpr size_t kTextBytes = 4096;
constexpr uint64_t kMaxOpenFiles = 1 << 20;  // the kernel's default fs.nr_open

[[noreturn]] void refuse(Code code, const std::string& text, const std::string& hint = {}) { throw Error("backend", code, text, hint); }

uint64_t inRange(const rauha_record& r, uint64_t low, uint64_t high, const char* what) {
  if (r.number < low || r.number > high)
    refuse(Code::invalid,
           std::string(what) + " is " + std::to_string(r.number) + ", and must be " + std::to_string(low) + " to " + std::to_string(high));
  return r.number;
}

std::string textOf(const rauha_record& r, const char* what) {
  const std::string_view text = sdk::view(r.text);
  if (text.empty() || text.size() > kTextBytes || text.find('\0') != std::string_view::npos)
    refuse(Code::invalid, std::string(what) + ": its text is empty, too long or has a NUL");
  return std::string(text);
}

uint8_t capabilityNumber(const std::string& name) {
  cap_value_t value = 0;
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  if (!plain || name.starts_with("cap_") || cap_from_name(("cap_" + name).c_str(), &value) != 0 || value < 0 || value > 63)
    refuse(Code::unsupported, "capability \"" + name + "\" is not known",
           "names are those of capabilities(7), lower case, without \"cap_\"");
  return static_cast<uint8_t>(value);
}

// "/dev/fuse rw"
DeviceGrant deviceOf(const std::string& text) {
  const size_t space = text.rfind(' ');
  if (space == std::string::npos)
    refuse(Code::invalid, "device \"" + text + "\" names no access", "write a path below /dev, a space, and letters of rwm");
  DeviceGrant out{text.substr(0, space), text.substr(space + 1)};
  if (!out.path.starts_with("/dev/") || (out.path + "/").find("/../") != std::string::npos)
    refuse(Code::invalid, "device \"" + out.path + "\" is not below /dev");
  if (out.access.empty() || out.access.find_first_not_of("rwm") != std::string::npos)
    refuse(Code::invalid, "device \"" + out.path + "\": access \"" + out.access + "\" is not made of the letters rwm");
  return out;
}

// Limits, the part that an update may also carry. False: not one of them.
bool readLimit(const rauha_record& r, cgroup::Limits& out) {
  constexpr uint64_t kBytes = uint64_t{1} << 62;
  switch (r.tag) {
    case RAUHA_ZONE_CPU_MILLIS:
      out.cpuMillis = inRange(r, 0, 10'000'000, "cpu limit");
      return true;
    case RAUHA_ZONE_CPU_WEIGHT:
      out.cpuWeight = inRange(r, 1, 10'000, "cpu weight");
      return true;
    case RAUHA_ZONE_MEMORY_BYTES:
      out.memoryBytes = inRange(r, 0, kBytes, "memory limit");
      return true;
    case RAUHA_ZONE_PIDS:
      out.pids = inRange(r, 0, 4'194'304, "pids limit");
      return true;
    case RAUHA_ZONE_IO_WEIGHT:
      out.ioWeight = inRange(r, 1, 10'000, "io weight");
      return true;
    case RAUHA_ZONE_IO_READ_BPS:
      out.ioReadBps = inRange(r, 0, kBytes, "io read limit");
      return true;
    case RAUHA_ZONE_IO_WRITE_BPS:
      out.ioWriteBps = inRange(r, 0, kBytes, "io write limit");
      return true;
    default:
      return false;
  }
}

// The rest. False: the tag is not known.
bool readRule(const rauha_record& r, ZoneSpec& out) {
  switch (r.tag) {
    case RAUHA_ZONE_OPEN_FILES:
      out.openFiles = static_cast<uint32_t>(inRange(r, 8, kMaxOpenFiles, "open files limit"));
      return true;
    case RAUHA_ZONE_CORE_BYTES:
      out.coreBytes = r.number;
      return true;
    case RAUHA_ZONE_CAPABILITY:
      out.capabilities.push_back(capabilityNumber(textOf(r, "capability")));
      return true;
    case RAUHA_ZONE_SYSCALL_DENY:
      out.syscallDeny.push_back(textOf(r, "denied system call"));
      return true;
    case RAUHA_ZONE_SYSCALL_ALLOW:
      out.syscallAllow.push_back(textOf(r, "allowed system call"));
      return true;
    case RAUHA_ZONE_DEVICE:
      out.devices.push_back(deviceOf(textOf(r, "device")));
      return true;
    case RAUHA_ZONE_NO_SUID_BITS:
      out.noSuidBits = inRange(r, 0, 1, "no-suid-bits") == 1;
      return true;
    case RAUHA_ZONE_REQUIRE: {
      std::string name = textOf(r, "required layer");
      if (std::find(layerNames().begin(), layerNames().end(), name) == layerNames().end())
        refuse(Code::unsupported, "required layer \"" + name + "\" is not known to backend-linux");
      out.require.push_back(std::move(name));
      return true;
    }
    default:
      return false;
  }
}

void readRecords(const rauha_zone_spec& raw, const std::function<bool(const rauha_record&)>& take) {
  if (raw.records.count > kRecords)
    refuse(Code::limit,
           "the zone has " + std::to_string(raw.records.count) + " records, and at most " + std::to_string(kRecords) + " are taken");
  for (const rauha_record& r : sdk::elements<rauha_record>(raw.records, "zone record")) {
    sdk::refuseUnknownFlags(r.flags, RAUHA_RECORD_CRITICAL, "zone record");
    if (r.reserved != 0) refuse(Code::unsupported, "zone record with tag " + std::to_string(r.tag) + ": its reserved field is not zero");
    if (take(r)) continue;
    if ((r.flags & RAUHA_RECORD_CRITICAL) != 0)
      refuse(Code::unsupported, "zone record with tag " + std::to_string(r.tag) + " cannot be honoured by backend-linux",
             "the tag is newer than this plugin, or not one that may change on a living zone");
  }
}

void checkHostname(const std::string& name) {
  const bool ok = !name.empty() && name.size() <= kHostnameBytes && name.front() != '-' && name.front() != '.' &&
                  std::all_of(name.begin(), name.end(), [](char c) {
                    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
                  });
  if (!ok) refuse(Code::invalid, "hostname \"" + name + "\" is not 1 to 64 letters, digits, dots, dashes or underscores");
}

void checkNetwork(const ZoneSpec& spec) {
  switch (spec.network) {
    case RAUHA_NETWORK_ISOLATED:
      return;
    case RAUHA_NETWORK_BRIDGED:
      refuse(Code::unsupported, "network mode bridged needs a network plugin, and none is loaded", "use network mode \"isolated\"");
    case RAUHA_NETWORK_HOST:
      if (!spec.hostUserNamespace)
        refuse(Code::invalid, "network mode host is only for zones in the host's user namespace",
               "set the policy's user_namespace to \"host\", or the network to \"isolated\"");
      return;
    default:
      refuse(Code::unsupported, "network mode " + std::to_string(spec.network) + " is not known to backend-linux");
  }
}

}  // namespace

const std::vector<std::string>& layerNames() {
  static const std::vector<std::string> names = {"user_namespace", "seccomp",     "landlock",  "capabilities", "cgroup_cpu",
                                                 "cgroup_memory",  "cgroup_pids", "cgroup_io", "network",      "enforcer"};
  return names;
}

void checkZoneId(std::string_view zoneId) {
  const bool ok = !zoneId.empty() && zoneId.size() <= 40 && std::all_of(zoneId.begin(), zoneId.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  // The daemon keeps itself in a group of that name beside the zones'; ending that "zone" would end the daemon.
  if (zoneId == "daemon") refuse(Code::invalid, "a zone cannot be called \"daemon\"");
  if (!ok) refuse(Code::invalid, "zone id \"" + std::string(zoneId.substr(0, 60)) + "\" is not 1 to 40 characters of [a-z0-9_]");
}

ZoneSpec readZoneSpec(const rauha_zone_spec& raw) {
  sdk::refuseUnknownFlags(raw.flags, RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST | RAUHA_ZONE_PREPARE, "zone spec");
  if (raw.reserved != 0) refuse(Code::unsupported, "zone spec: its reserved field is not zero");
  ZoneSpec out;
  out.zoneId = std::string(sdk::view(raw.zone_id));
  out.hostname = std::string(sdk::view(raw.hostname));
  out.ephemeral = (raw.flags & RAUHA_ZONE_EPHEMERAL) != 0;
  out.hostUserNamespace = (raw.flags & RAUHA_ZONE_USERNS_HOST) != 0;
  out.prepare = (raw.flags & RAUHA_ZONE_PREPARE) != 0;
  out.network = raw.network;
  checkZoneId(out.zoneId);
  checkHostname(out.hostname);
  checkNetwork(out);
  if (out.prepare) {
    if (raw.records.count != 0)
      refuse(Code::invalid, "a zone that is prepared has no records yet, and here are " + std::to_string(raw.records.count));
    if (out.hostUserNamespace || !out.ephemeral)
      refuse(Code::unsupported, "only ephemeral zones with a user namespace of their own are prepared");
    return out;
  }
  readRecords(raw, [&](const rauha_record& r) { return readLimit(r, out.limits) || readRule(r, out); });
  std::sort(out.capabilities.begin(), out.capabilities.end());
  out.capabilities.erase(std::unique(out.capabilities.begin(), out.capabilities.end()), out.capabilities.end());
  return out;
}

ZoneSpec readZoneUpdate(const rauha_zone_spec& raw) {
  // Only the id and the records speak in an update; a mode that differs from the zone's would be a wish that nobody fulfils.
  sdk::refuseUnknownFlags(raw.flags, RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST, "zone spec");
  if (raw.reserved != 0) refuse(Code::unsupported, "zone spec: its reserved field is not zero");
  ZoneSpec out;
  out.zoneId = std::string(sdk::view(raw.zone_id));
  checkZoneId(out.zoneId);
  readRecords(raw, [&](const rauha_record& r) { return readLimit(r, out.limits); });
  return out;
}

}  // namespace rauha::backend
