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

// Longer words are nobody's slip; bounds the matrix.
constexpr size_t kMaxWord = 40;

// Damerau's distance with adjacent transpositions ("memroy" is one step from "memory").
size_t distance(std::string_view a, std::string_view b) noexcept {
  std::array<std::array<size_t, kMaxWord + 1>, 3> rows{};
  for (size_t j = 0; j <= b.size(); ++j) rows[1][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& before = rows[(i + 2) % 3];
    auto& previous = rows[i % 3];
    auto& current = rows[(i + 1) % 3];
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) current[j] = std::min(current[j], before[j - 2] + 1);
    }
  }
  return rows[(a.size() + 1) % 3][b.size()];
}

}  // namespace

std::span<const std::string_view> capabilityNames() noexcept { return kCapabilities; }
std::span<const std::string_view> layerNames() noexcept { return kLayers; }

bool isCapability(std::string_view name) noexcept {
  return std::find(kCapabilities.begin(), kCapabilities.end(), name) != kCapabilities.end();
}

bool isSyscallName(std::string_view name) noexcept {
  if (name.empty() || name.size() > 48 || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) noexcept {
  if (word.empty() || word.size() > kMaxWord) return {};
  const size_t limit = std::max<size_t>(1, word.size() / 3);
  std::string_view best;
  size_t bestDistance = limit + 1;
  for (const auto candidate : candidates) {
    if (candidate.size() > kMaxWord) continue;
    const size_t d = distance(word, candidate);
    if (d < bestDistance) bestDistance = d, best = candidate;
  }
  return best;
}

std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates) {
  const auto near = nearest(word, candidates);
  if (!near.empty()) return "did you mean '" + std::string(near) + "'?";
  std::string list;
  for (const auto candidate : candidates) (list += list.empty() ? "known here: " : ", ") += candidate;
  return list;
}

}  // namespace rauha::policy
