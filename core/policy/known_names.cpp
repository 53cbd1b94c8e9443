#include "core/policy/known_names.h"

#include <algorithm>
#include <array>

namespace rauha::policy {
namespace {

constexpr std::array<std::string_view, 41> kCapabilities = {"chown",
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

constexpr std::array<std::string_view, 10> kLayers = {"user_namespace", "seccomp",     "landlock",  "capabilities", "cgroup_cpu",
                                                      "cgroup_memory",  "cgroup_pids", "cgroup_io", "network",      "enforcer"};

}  // namespace

std::span<const std::string_view> capabilityNames() noexcept { return kCapabilities; }
std::span<const std::string_view> layerNames() noexcept { return kLayers; }

bool isCapability(std::string_view name) noexcept {
  return std::find(kCapabilities.begin(), kCapabilities.end(), name) != kCapabilities.end();
}

}  // namespace rauha::policy
