#include "plugins/backend-linux/layers.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/base/error.h"
#include "plugins/backend-linux/id_range.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::backend {
namespace {

// ABI 5 (Linux 6.10) controls device ioctls; what came later (signals, abstract sockets) the zone's namespaces bound already.
constexpr int kLandlockFull = 5;

rauha_str cstr(const std::string& text) { return text.empty() ? rauha_str{nullptr, 0} : sdk::str(text); }

}  // namespace

Layer userNamespaceLayer(const ZoneSpec& spec, uint32_t hostIdBase) {
  if (spec.hostUserNamespace)
    return {"user_namespace", Armed::missing, "host", "zone root is host root: the policy asks for it",
            "set the policy's user_namespace to \"private\""};
  return {"user_namespace", Armed::full, "private " + std::to_string(hostIdBase) + "+" + std::to_string(kIdsPerZone), "", ""};
}

Layer seccompLayer(const ZoneSpec& spec, size_t instructions) {
  const std::string size = std::to_string(instructions) + " instructions";
  if (spec.hostUserNamespace)
    return {"seccomp", Armed::partial, size + ", list of privileged zones", "privileged zones get a wide list",
            "set the policy's user_namespace to \"private\""};
  std::string detail = size + ", default-deny";
  if (!spec.syscallAllow.empty()) detail += ", " + std::to_string(spec.syscallAllow.size()) + " added by the policy";
  if (!spec.syscallDeny.empty()) detail += ", " + std::to_string(spec.syscallDeny.size()) + " denied by the policy";
  if (spec.noSuidBits) detail += ", no set-user-ID bits";
  return {"seccomp", Armed::full, std::move(detail), "", ""};
}

Layer networkLayer(const ZoneSpec& spec) {
  if (spec.network == RAUHA_NETWORK_HOST)
    return {"network", Armed::missing, "host", "the policy asks for the host's network", "set the policy's network mode to \"isolated\""};
  return {"network", Armed::full, "isolated: loopback only", "", ""};
}

Layer landlockLayer(int abi) {
  if (abi == 0)
    return {"landlock", Armed::missing, "none", "the kernel has no Landlock, or it is switched off",
            "boot with lsm=…,landlock (Linux 5.13 or newer)"};
  if (abi < kLandlockFull)
    return {"landlock", Armed::partial, "ABI " + std::to_string(abi),
            "Landlock ABI " + std::to_string(abi) + " is older than " + std::to_string(kLandlockFull), "Linux 6.10 or newer has all of it"};
  return {"landlock", Armed::full, "ABI " + std::to_string(abi), "", ""};
}

std::vector<Layer> processLayers(const ZoneSpec& spec) {
  Layer landlock = landlockLayer(sys::landlockAbi());
  if (spec.hostUserNamespace)
    landlock = {"landlock", Armed::missing, "none", "privileged zones do without it", "set the policy's user_namespace to \"private\""};
  return {std::move(landlock),
          {"capabilities", Armed::full, std::to_string(spec.capabilities.size()) + " kept", "", ""},
          {"enforcer", Armed::missing, "none", "no enforcer plugin is loaded", "remove \"enforcer\" from the policy's require"}};
}

std::vector<cgroup::DeviceRule> deviceRules(const ZoneSpec& spec) {
  // null, zero, full, random, urandom, tty, ptmx and every pts.
  std::vector<cgroup::DeviceRule> out = {{'c', 1, 3, "rwm"}, {'c', 1, 5, "rwm"}, {'c', 1, 7, "rwm"}, {'c', 1, 8, "rwm"},
                                         {'c', 1, 9, "rwm"}, {'c', 5, 0, "rwm"}, {'c', 5, 2, "rwm"}, {'c', 136, -1, "rwm"}};
  for (const DeviceGrant& grant : spec.devices) {
    struct stat st {};
    if (::stat(grant.path.c_str(), &st) != 0) throwErrno("backend", "device " + grant.path);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
      throw Error("backend", Code::invalid, grant.path + " is not a device", "", grant.path);
    out.push_back(
        {S_ISCHR(st.st_mode) ? 'c' : 'b', static_cast<int64_t>(major(st.st_rdev)), static_cast<int64_t>(minor(st.st_rdev)), grant.access});
  }
  return out;
}

void push(const rauha_layer_sink& sink, const Layer& layer) {
  rauha_layer out{};
  out.struct_size = sizeof out;
  out.state = static_cast<uint32_t>(layer.state);
  out.name = cstr(layer.name);
  out.detail = cstr(layer.detail);
  out.reason = cstr(layer.reason);
  out.remedy = cstr(layer.remedy);
  sink.push(sink.context, &out);
}

void push(const rauha_finding_sink& sink, const std::string& zoneId, const std::string& object, const std::string& action) {
  rauha_zone_finding out{};
  out.struct_size = sizeof out;
  out.zone_id = cstr(zoneId);
  out.object = cstr(object);
  out.action = cstr(action);
  sink.push(sink.context, &out);
}

}  // namespace rauha::backend
