#include "core/plugin_host/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/plugin/remote/isolation.h"
#include "core/plugin_host/private_root.h"
#include "core/plugin_host/syscall_filter.h"

namespace rauha::plugin_host {
namespace {

constexpr const char* kClass = "plugin";
// Each may hold a socket buffer of the kernel, which no limit of memory counts.
constexpr rlim_t kDescriptors = 1024;

// Newer than the oldest kernel headers we build with.
constexpr uint64_t kTruncate = 1ull << 14;  // Landlock ABI 3
constexpr uint64_t kTcp = 3;                // ABI 4: bind and connect
constexpr uint64_t kIoctlDev = 1ull << 15;  // ABI 5
constexpr uint64_t kScopes = 3;             // ABI 6: abstract sockets and signals
struct RulesetAttr {
  uint64_t fs, net, scoped;
};

constexpr uint64_t kWrite = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                            LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                            LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_REFER | kTruncate;
constexpr uint64_t kFileRights = LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;

std::string text(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

void allowWriting(int ruleset, const std::string& path, uint64_t rights) {
  const UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) throwErrno(kClass, "landlock: open " + path);
  landlock_path_beneath_attr rule{};
  rule.allowed_access = rights;
  rule.parent_fd = fd.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) throwErrno(kClass, "landlock: rule for " + path);
}

std::string armLandlock(schema::HostSetup::Reader setup) {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  // Before ABI 2 every rename into another directory fails, and a store cannot work.
  if (abi < 2)
    throw Error(kClass, Code::unsupported,
                "landlock: the kernel has " + (abi < 0 ? "none" : "ABI " + std::to_string(abi)) + ", ABI 2 is needed",
                "boot with lsm=…,landlock (kernel 5.19 or later), or run the plugin without isolation = \"process\"");
  const uint64_t known = abi >= 3 ? ~0ull : ~kTruncate;
  RulesetAttr attr{((kWrite & known) | LANDLOCK_ACCESS_FS_EXECUTE) | (abi >= 5 ? kIoctlDev : 0), abi >= 4 && !setup.getNetwork() ? kTcp : 0,
                   abi >= 6 ? kScopes : 0};
  const size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
  if (!ruleset) throwErrno(kClass, "landlock: make a ruleset");
  for (const auto& path :
       {text(setup.getStateDir()) + "/plugins/" + text(setup.getPlugin()), text(setup.getRuntimeDir()), std::string("/tmp")})
    allowWriting(ruleset.get(), path, kWrite & known);
  allowWriting(ruleset.get(), "/dev/null", kFileRights & known);
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) throwErrno(kClass, "landlock: enforce the ruleset");
  return "landlock ABI " + std::to_string(abi) + ": writes in its own directory, /tmp and its runtime directory; executes nothing";
}

void control(int option, unsigned long value, const char* what) {
  if (prctl(option, value, 0, 0, 0) != 0) throwErrno(kClass, what);
}

struct CapabilitySets {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
};

void setCapabilities(uint64_t wanted) {
  CapabilitySets sets;
  if (syscall(SYS_capget, &sets.header, sets.data) != 0) throwErrno(kClass, "read capabilities");
  for (int half = 0; half < 2; ++half) {
    const auto keep = static_cast<uint32_t>(wanted >> (32 * half)) & sets.data[half].permitted;
    sets.data[half] = {keep, keep, 0};
  }
  if (syscall(SYS_capset, &sets.header, sets.data) != 0) throwErrno(kClass, "drop capabilities");
}

void dropCapabilities(uint64_t wanted) {
  control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, "clear the ambient capabilities");
  control(PR_SET_SECUREBITS,
          SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
              SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
          "lock the securebits");
  for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; ++number)
    if ((wanted >> number & 1) == 0)
      control(PR_CAPBSET_DROP, static_cast<unsigned long>(number), "drop a capability from the bounding set");
  setCapabilities(wanted);
}

void limit(__rlimit_resource resource, rlim_t value, const char* what) {
  rlimit now{};
  if (getrlimit(resource, &now) != 0) throwErrno(kClass, what);
  now.rlim_max = now.rlim_max < value ? now.rlim_max : value;
  now.rlim_cur = now.rlim_max;
  if (setrlimit(resource, &now) != 0) throwErrno(kClass, what);
}

std::string armLimits(uint64_t memoryBytes) {
  limit(RLIMIT_CORE, 0, "limit core files");
  limit(RLIMIT_NOFILE, kDescriptors, "limit descriptors");
  std::string out = "limits: " + std::to_string(kDescriptors) + " descriptors, no core files";
#ifndef __SANITIZE_ADDRESS__  // its shadow alone is larger than any limit
  if (memoryBytes > 0) {
    limit(RLIMIT_DATA, memoryBytes, "limit data");
    out += ", " + std::to_string(memoryBytes >> 20) + " MiB of data";
  }
#else
  (void)memoryBytes;
#endif
  return out;
}

}  // namespace

void enterPrivateWorld(schema::HostSetup::Reader setup, std::vector<std::string>& layers) {
  const bool network = setup.getNetwork();
  if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | (network ? 0 : CLONE_NEWNET)) != 0)
    throwErrno(kClass, "make namespaces for the plugin's process");
  enterPrivateRoot(setup);
  layers.push_back(std::string("namespaces: pid, mount, ipc, uts, cgroup") + (network ? "; the host's network" : ", network (empty)"));
  layers.push_back("root: private, " + std::to_string(setup.getRead().size()) + " paths of the host, read-only");
}

void dropRights(schema::HostSetup::Reader setup, std::vector<std::string>& layers) {
  control(PR_SET_NO_NEW_PRIVS, 1, "set no_new_privs");
  dropCapabilities(setup.getCapabilities());
  layers.push_back("capabilities: " + plugin::capabilityNames(setup.getCapabilities()) + "; no_new_privs");
  layers.push_back(armLandlock(setup));
  layers.push_back(armLimits(setup.getMemoryBytes()));
  layers.push_back("seccomp: " + std::to_string(loadSyscallFilter(setup.getNetwork())) + " rules of an allow-list");
}

void dropEverything() {
  control(PR_SET_NO_NEW_PRIVS, 1, "set no_new_privs");
  dropCapabilities(0);
}

}  // namespace rauha::plugin_host
