#include <array>
#include <string>

#include "core/base/units.h"
#include "core/policy/policy_reader.h"

namespace rauha::policy {
namespace {

std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

struct Risk {
  std::string_view capability, consequence;
};
// With a user namespace of its own these reach only the zone, but they open much of the kernel's code to it.
constexpr std::array<Risk, 8> kRisks = {{{"sys_admin", "mounts, namespaces and most of the kernel's rare code"},
                                         {"sys_module", "loads kernel modules in a privileged zone"},
                                         {"sys_rawio", "raw I/O ports and memory in a privileged zone"},
                                         {"sys_ptrace", "reads and changes every process of the zone"},
                                         {"dac_read_search", "opens files by handle, past directories' permissions"},
                                         {"net_admin", "the firewall and routing code of the kernel"},
                                         {"bpf", "the kernel's BPF verifier"},
                                         {"mknod", "makes device nodes in a privileged zone"}}};

void warnPrivileged(schema::Policy::Reader policy, std::vector<std::string>& out) {
  if (policy.getType() != schema::ZoneType::PRIVILEGED) return;
  out.emplace_back("type privileged: for trusted workloads only; what runs in the zone can take over this machine");
  if (policy.getUserNamespace() == schema::UserNamespace::HOST) out.emplace_back("user_namespace host: zone root is host root");
  if (policy.getNetwork().getMode() == schema::NetworkMode::HOST)
    out.emplace_back("network.mode host: the zone reaches every service of this machine, loopback included");
}

void warnLimits(schema::Policy::Reader policy, std::vector<std::string>& out) {
  const auto resources = policy.getResources();
  if (resources.getMemoryBytes() == 0) out.emplace_back("resources.memory 0: the zone may use all memory of this machine");
  if (resources.getPids() == 0) out.emplace_back("resources.pids 0: a fork bomb in the zone stops this machine");
  const auto files = policy.getFilesystem();
  const uint64_t inMemory = (files.getScratch() == schema::ScratchKind::MEMORY ? files.getScratchBytes() : 0) + 2 * files.getTmpBytes();
  if (resources.getMemoryBytes() != 0 && inMemory > resources.getMemoryBytes())
    out.push_back("filesystem: scratch, /tmp and /dev/shm may hold " + formatBytes(inMemory) + " in memory, but resources.memory is " +
                  formatBytes(resources.getMemoryBytes()) + ": a task that fills them ends as out_of_memory");
}

}  // namespace

std::vector<std::string> policyWarnings(schema::Policy::Reader policy) {
  std::vector<std::string> out;
  warnPrivileged(policy, out);
  for (const auto capability : policy.getCapabilities())
    for (const auto& risk : kRisks)
      if (view(capability) == risk.capability)
        out.push_back("capabilities " + std::string(risk.capability) + ": " + std::string(risk.consequence));
  for (const auto device : policy.getDevices()) out.push_back("devices " + std::string(view(device.getPath())) + ": shared with the host");
  for (const auto name : policy.getSyscalls().getAllow())
    out.push_back("syscalls.allow " + std::string(view(name)) +
                  ": not in the default list, so the kernel's code for it is open to the zone");
  warnLimits(policy, out);
  return out;
}

}  // namespace rauha::policy
