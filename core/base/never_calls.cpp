#include "core/base/never_calls.h"

#include <algorithm>

namespace rauha {
namespace {

constexpr NeverCalls kNever[] = {
    {"it replaces, extends or restarts the host's kernel",
     "kexec_load kexec_file_load init_module finit_module delete_module reboot bpf",
     {}},
    {"it does other calls' work where no filter sees it", "io_uring_setup io_uring_enter io_uring_register", {}},
    {"its flags cannot be filtered", "clone3", "sys_admin"},
    {"its arguments decide, and some are admitted already", "clone unshare", "sys_admin"},
    {"its arguments decide, and some are admitted already", "socket socketpair personality", {}},
    {"it opens files past every path check", "open_by_handle_at", {}},
    {"keyrings are shared with the host", "keyctl add_key request_key", {}},
    {"it reaches the machine, not the zone", "iopl ioperm swapon swapoff quotactl quotactl_fd acct perf_event_open lookup_dcookie", {}},
    {"it needs the capability sys_admin, and comes with it",
     "setns mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr", "sys_admin"},
    {"it is obsolete, and old code is weak code",
     "_sysctl uselib ustat sysfs nfsservctl modify_ldt vserver getpmsg putpmsg afs_syscall tuxcall security create_module get_kernel_syms query_module",
     {}},
};

bool contains(std::string_view names, std::string_view name) noexcept {
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find(' ', at), names.size());
    if (names.substr(at, end - at) == name) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

std::span<const NeverCalls> neverCalls() noexcept { return kNever; }

const NeverCalls* neverAllowed(std::string_view call, std::span<const std::string_view> capabilities) noexcept {
  for (const NeverCalls& group : kNever) {
    if (!contains(group.names, call)) continue;
    const bool comes =
        !group.capability.empty() && std::find(capabilities.begin(), capabilities.end(), group.capability) != capabilities.end();
    return comes ? nullptr : &group;
  }
  return nullptr;
}

}  // namespace rauha
