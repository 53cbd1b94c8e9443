#include "core/changes/host_check.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/changes/noise.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

int64_t tick() noexcept {
  struct timespec resolution {};
  if (clock_getres(CLOCK_REALTIME_COARSE, &resolution) != 0) return 10'000'000;  // of the slowest clock that Linux can be built with
  return nanoseconds(resolution);
}

class Look final {
 public:
  Look(int64_t startedNs, uint32_t uid, uint32_t gid, const HostBudget& budget, const std::atomic<bool>* enough)
      : startedNs_(startedNs), uid_(uid), gid_(gid), budget_(budget), enough_(enough), endNs_(monotonicNs() + budget.ns) {}

  // False: the budget is used up.
  bool directory(int fd, const std::string& prefix, uint32_t depth) {
    const std::string all = unsortedNames(fd);
    for (size_t at = 0; at < all.size(); at += strlen(all.c_str() + at) + 1) {
      const char* name = all.c_str() + at;
      if (++seen_ > budget_.entries || ((seen_ & 63) == 0 && over())) return false;
      const auto st = lookup(fd, name);
      if (!st) continue;
      // The names of most entries do not matter.
      if (!S_ISDIR(st->st_mode) && !changedSince(nanoseconds(st->st_ctim), startedNs_)) continue;
      const std::string path = prefix + name;
      const bool noise = !noiseGroup(path).empty();
      if (!noise && changedSince(nanoseconds(st->st_ctim), startedNs_)) found(path);
      if (noise || !S_ISDIR(st->st_mode) || !listable(*st)) continue;
      if (depth >= budget_.depth) return false;
      if (const UniqueFd inner = openDirectory(fd, name); inner && !directory(inner.get(), path + "/", depth + 1)) return false;
    }
    return true;
  }
  void found(const std::string& path) {
    changed_ = true;
    if (paths_.size() < kHostChangesListed) paths_.push_back(path);
  }
  HostCheck result(bool complete) {
    HostCheck out;
    out.verdict = changed_ ? HostTree::changed : complete ? HostTree::unchanged : HostTree::notChecked;
    if (!complete)
      out.note = "the host's tree was looked at for changes made meanwhile only as far as " + std::to_string(seen_ - 1) +
                 " entries; each changed path was";
    out.paths = std::move(paths_);
    std::sort(out.paths.begin(), out.paths.end());
    return out;
  }

 private:
  bool over() const { return (enough_ != nullptr && enough_->load(std::memory_order_relaxed)) || monotonicNs() > endNs_; }
  bool listable(const struct stat& st) const {
    const unsigned shift = st.st_uid == uid_ ? 6 : st.st_gid == gid_ ? 3 : 0;
    return uid_ == 0 || (st.st_mode >> shift & 5) == 5;
  }

  const int64_t startedNs_;
  const uint32_t uid_, gid_;
  const HostBudget budget_;
  const std::atomic<bool>* const enough_;
  const int64_t endNs_;
  uint64_t seen_ = 0;
  bool changed_ = false;
  std::vector<std::string> paths_;
};

}  // namespace

bool changedSince(int64_t ctimeNs, int64_t startedNs) noexcept {
  static const int64_t slack = tick();
  return ctimeNs >= startedNs - slack;
}

HostCheck checkHost(int base, int64_t startedNs, uint32_t ownerUid, uint32_t ownerGid, const HostBudget& budget,
                    const std::atomic<bool>* enough) {
  Look look(startedNs, ownerUid, ownerGid, budget, enough);
  struct stat top {};
  if (fstat(base, &top) == 0 && changedSince(nanoseconds(top.st_ctim), startedNs)) look.found(".");
  return look.result(look.directory(base, "", 1));
}

}  // namespace rauha::changes
