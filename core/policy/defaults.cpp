#include "core/policy/defaults.h"

#include <array>

namespace rauha::policy {
namespace {

constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kGiB = 1ULL << 30;

// What package managers and test suites need of zone root: owning and reading any file of the zone, changing ids, signalling, low ports.
// Left out of the field's common set: setpcap, setfcap, mknod, sys_chroot, audit_write, net_raw; each widens the kernel's attack surface
// and no ordinary build or test asks for them.
constexpr std::array<std::string_view, 8> kTaskCapabilities = {"chown", "dac_override",     "fowner", "fsetid",
                                                               "kill",  "net_bind_service", "setgid", "setuid"};
// A long-lived workload may start services that drop their own rights and use chroot.
constexpr std::array<std::string_view, 11> kStandardCapabilities = {
    "chown", "dac_override", "fowner", "fsetid", "kill", "net_bind_service", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"};

constexpr std::array<std::string_view, 8> kStrictLayers = {"user_namespace", "seccomp",       "landlock",    "capabilities",
                                                           "cgroup_cpu",     "cgroup_memory", "cgroup_pids", "network"};

// Without these a run would be something else than its policy says: root of the host, unlimited, or connected.
constexpr std::array<std::string_view, 6> kBaseLayers = {"user_namespace", "seccomp",     "capabilities",
                                                         "cgroup_memory",  "cgroup_pids", "network"};

struct Numbers {
  uint32_t cpuMillis;
  uint64_t memory;
  uint32_t pids, openFiles;
  uint64_t timeoutMs, stopGraceMs, scratch, tmp;
};

Numbers numbersOf(schema::ZoneType type) noexcept {
  switch (type) {
    case schema::ZoneType::TASK:
      return {2000, 2 * kGiB, 512, 4096, 600'000, 2000, 512 * kMiB, 256 * kMiB};
    case schema::ZoneType::STRICT:
      return {1000, kGiB, 256, 1024, 300'000, 2000, 256 * kMiB, 128 * kMiB};
    case schema::ZoneType::STANDARD:
    case schema::ZoneType::PRIVILEGED:
      return {0, 4 * kGiB, 4096, 65536, 0, 10'000, kGiB, 256 * kMiB};
  }
  return {1000, kGiB, 256, 1024, 300'000, 2000, 256 * kMiB, 128 * kMiB};
}

std::span<const std::string_view> capabilitiesOf(schema::ZoneType type) noexcept {
  switch (type) {
    case schema::ZoneType::TASK:
      return kTaskCapabilities;
    case schema::ZoneType::STANDARD:
    case schema::ZoneType::PRIVILEGED:
      return kStandardCapabilities;
    case schema::ZoneType::STRICT:
      break;
  }
  return {};
}

std::span<const std::string_view> layersOf(schema::ZoneType type) noexcept {
  switch (type) {
    case schema::ZoneType::TASK:
    case schema::ZoneType::STANDARD:
      return kBaseLayers;
    case schema::ZoneType::PRIVILEGED:
      return {};
    case schema::ZoneType::STRICT:
      break;
  }
  return kStrictLayers;
}

void copy(std::span<const std::string_view> from, capnp::List<capnp::Text>::Builder to) {
  for (size_t i = 0; i < from.size(); ++i) to.set(static_cast<uint32_t>(i), capnp::Text::Reader(from[i].data(), from[i].size()));
}

}  // namespace

std::span<const std::string_view> strictLayers() noexcept { return kStrictLayers; }

void writeDefaults(schema::ZoneType type, schema::Policy::Builder out) {
  const Numbers n = numbersOf(type);
  const bool strict = type == schema::ZoneType::STRICT;
  out.setType(type);
  out.setUserNamespace(type == schema::ZoneType::PRIVILEGED ? schema::UserNamespace::HOST : schema::UserNamespace::PRIVATE);
  const auto capabilities = capabilitiesOf(type);
  copy(capabilities, out.initCapabilities(static_cast<uint32_t>(capabilities.size())));
  const auto layers = layersOf(type);
  copy(layers, out.initRequire(static_cast<uint32_t>(layers.size())));

  auto files = out.initFilesystem();
  files.setReadOnlyRoot(strict);
  files.setScratch(schema::ScratchKind::MEMORY);
  files.setScratchBytes(n.scratch);
  files.setTmpBytes(n.tmp);
  files.initMasked(0);
  files.initReadOnly(0);

  auto network = out.initNetwork();
  network.setMode(schema::NetworkMode::ISOLATED);
  network.initEgress(0);
  network.initIngress(0);
  network.initZones(0);

  auto resources = out.initResources();
  resources.setCpuMillis(n.cpuMillis);
  resources.setCpuWeight(100);
  resources.setMemoryBytes(n.memory);
  resources.setPids(n.pids);
  resources.setOpenFiles(n.openFiles);
  resources.setIoWeight(100);
  resources.setTimeoutMs(n.timeoutMs);
  resources.setStopGraceMs(n.stopGraceMs);
  resources.setOutputBytes(kMiB);

  auto syscalls = out.initSyscalls();
  syscalls.initDeny(0);
  syscalls.initAllow(0);
  out.initDevices(0);
  out.initImages().initRegistries(0);
}

}  // namespace rauha::policy
