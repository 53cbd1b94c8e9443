#include "plugins/agent/confine.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "plugins/agent/landlock.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr unsigned kCapabilities = 64;

constexpr const char* kNames[] = {"chown",
                                  "dac_override",
                                  "dac_read_search",
                                  "fowner",
                                  "fsetid",
                                  "kill",
                                  "setgid",
                                  "setuid",
                                  "setpcap",
                                  "linux_immutable",
                                  "net_bind_service",
                                  "net_broadcast",
                                  "net_admin",
                                  "net_raw",
                                  "ipc_lock",
                                  "ipc_owner",
                                  "sys_module",
                                  "sys_rawio",
                                  "sys_chroot",
                                  "sys_ptrace",
                                  "sys_pacct",
                                  "sys_admin",
                                  "sys_boot",
                                  "sys_nice",
                                  "sys_resource",
                                  "sys_time",
                                  "sys_tty_config",
                                  "mknod",
                                  "lease",
                                  "audit_write",
                                  "audit_control",
                                  "setfcap",
                                  "mac_override",
                                  "mac_admin",
                                  "syslog",
                                  "wake_alarm",
                                  "block_suspend",
                                  "audit_read",
                                  "perfmon",
                                  "bpf",
                                  "checkpoint_restore"};

// Every limit that the policy does not set has one value, whatever the daemon was started with: a task behaves the same everywhere, and
// gets none of the daemon's allowances. What control groups bound (memory, processes, time) is not bounded here again.
struct FixedLimit {
  int resource;
  const char* name;
  uint64_t soft, hard;
};
constexpr uint64_t kNone = RLIM_INFINITY;
constexpr FixedLimit kFixedLimits[] = {{RLIMIT_AS, "address space", kNone, kNone},
                                       {RLIMIT_CPU, "processor seconds", kNone, kNone},
                                       {RLIMIT_DATA, "data segment", kNone, kNone},
                                       {RLIMIT_FSIZE, "file size", kNone, kNone},
                                       {RLIMIT_LOCKS, "file locks", kNone, kNone},
                                       {RLIMIT_MEMLOCK, "locked memory", 8u << 20, 8u << 20},
                                       {RLIMIT_MSGQUEUE, "message queue bytes", 819200, 819200},
                                       {RLIMIT_NICE, "nice ceiling", 0, 0},
                                       {RLIMIT_NPROC, "processes of the user", kNone, kNone},
                                       {RLIMIT_RSS, "resident memory", kNone, kNone},
                                       {RLIMIT_RTPRIO, "real-time priority", 0, 0},
                                       {RLIMIT_RTTIME, "real-time microseconds", kNone, kNone},
                                       {RLIMIT_SIGPENDING, "pending signals", 16384, 16384},
                                       {RLIMIT_STACK, "stack", 8u << 20, kNone}};

void check(int result, const char* what) {
  if (result < 0) throwErrno(kClass, what);
}

void limit(int resource, const char* name, uint64_t soft, uint64_t wanted, Armed& armed) {
  struct rlimit now;
  check(::getrlimit(static_cast<__rlimit_resource_t>(resource), &now), "getrlimit");
  struct rlimit next = {soft, wanted};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &next) == 0) return;
  if (errno != EPERM) throwErrno(kClass, std::string("set the limit ") + name);
  // Without CAP_SYS_RESOURCE a hard limit cannot be raised: as high as it goes.
  next.rlim_max = std::min<uint64_t>(now.rlim_max, wanted);
  next.rlim_cur = std::min<uint64_t>(soft, next.rlim_max);
  check(::setrlimit(static_cast<__rlimit_resource_t>(resource), &next), "set a limit");
  if (wanted == kNone) return;  // stricter than nothing: nobody asked for so much
  armed.notes.push_back(std::string(name) + " is " + std::to_string(next.rlim_max) + ", asked for " + std::to_string(wanted) +
                        ": the agent may not raise it");
}

void joinFreshKeyring() {
  // Without it the process would hold the session keyring of whoever started the daemon.
  if (sys::keyctlJoinSessionRaw() < 0 && errno != ENOSYS) throwErrno(kClass, "join a fresh session keyring");
}

void dropBounding(uint64_t keep, Armed& armed) {
  for (unsigned cap = 0; cap < kCapabilities; ++cap) {
    const int has = ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
    if (has < 0) break;  // past the kernel's last capability
    if ((keep >> cap & 1) == 0 && has == 1 && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
      throwErrno(kClass, "drop capability " + capabilityName(cap));
    if ((keep >> cap & 1) != 0 && has == 1) armed.capabilities |= 1ull << cap;
  }
}

void setCapabilities(uint64_t keep, bool root) {
  check(sys::capsetRaw(keep, keep, keep), "set capabilities");
  check(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities");
  if (root) return;  // root gets them by exec; ambient ones would survive its change to another user
  for (unsigned cap = 0; cap < kCapabilities; ++cap)
    if ((keep >> cap & 1) != 0) check(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), "raise an ambient capability");
}

}  // namespace

std::string capabilityName(unsigned number) { return number < std::size(kNames) ? kNames[number] : "cap_" + std::to_string(number); }

void setLimits(const Zone& zone, Armed& armed) {
  if (!sys::resetOomScoreRaw()) throwErrno(kClass, "reset the out-of-memory score");
  limit(RLIMIT_NOFILE, "open_files", zone.openFiles, zone.openFiles, armed);
  // Where core_pattern is a program of the host's, the kernel asks no limit but this one: 1 starts none, 0 would.
  const uint64_t core = zone.coreBytes == 0 ? 1 : zone.coreBytes;
  limit(RLIMIT_CORE, "core_bytes", core, core, armed);
  for (const FixedLimit& l : kFixedLimits) limit(l.resource, l.name, l.soft, l.hard, armed);
}

void becomeUser(const Zone& zone, const User& user, Armed& armed) {
  joinFreshKeyring();
  dropBounding(zone.capabilities, armed);
  check(::setgroups(user.groups.size(), user.groups.data()), "set the supplementary groups");
  check(::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities over the change of user");
  if (::setresgid(user.gid, user.gid, user.gid) != 0) throwErrno(kClass, "become group " + std::to_string(user.gid) + " of the zone");
  if (::setresuid(user.uid, user.uid, user.uid) != 0) throwErrno(kClass, "become user " + std::to_string(user.uid) + " of the zone");
  setCapabilities(armed.capabilities, user.uid == 0);
  check(::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "stop keeping capabilities");
  check(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "hide the agent's memory from the zone");
}

void armLandlock(int ruleset, int abi, Armed& armed) {
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs");
  armed.noNewPrivs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  if (!armed.noNewPrivs) throw Error(kClass, Code::unsupported, "no_new_privs did not hold");
  if (ruleset < 0) return;
  check(enforceLandlockRaw(ruleset), "enforce the Landlock ruleset");
  armed.landlockAbi = static_cast<uint32_t>(abi);
}

void armSeccomp(const Zone& zone, bool noSuid, Armed& armed) {
  for (const auto* program : {noSuid ? &zone.seccompNoSuid : nullptr, &zone.seccomp}) {
    if (program == nullptr || program->empty()) continue;
    check(sys::seccompFilterRaw(program->data(), static_cast<uint16_t>(program->size())), "arm seccomp");
    armed.seccomp = true;
    armed.seccompRules += static_cast<uint32_t>(program->size());
  }
  if (zone.userNamespace && zone.seccomp.empty())
    throw Error(kClass, Code::internal, "the zone has no seccomp program", "only privileged zones run without");
}

}  // namespace rauha::agent
