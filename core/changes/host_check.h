#pragma once
// Did the host's tree change while the task ran? By the kernel's change times, which nobody can set.
//
// A change time is taken from a clock that ticks some milliseconds late, so what changed within one tick before the start counts as well: a
// false alarm is better than a missed one. Noise (noise.h) does not count: an editor's `git status` in the background would raise it for
// every task. Worker thread.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/changes/change.h"

namespace rauha::changes {

inline constexpr size_t kHostChangesListed = 20;

bool changedSince(int64_t ctimeNs, int64_t startedNs) noexcept;

struct HostCheck {
  HostTree verdict = HostTree::notChecked;
  std::vector<std::string> paths;  // the first ones, ""-relative; a directory stands for names that came or went
  std::string note;
};

struct HostBudget {
  uint64_t entries;
  int64_t ns;
  uint32_t depth;
};

// Looks at what the tree's owner may list: names in directories closed to it are not told. enough: ends the look when it becomes true, as
// the budget does; may be null.
HostCheck checkHost(int base, int64_t startedNs, uint32_t ownerUid, uint32_t ownerGid, const HostBudget& budget,
                    const std::atomic<bool>* enough = nullptr);

}  // namespace rauha::changes
