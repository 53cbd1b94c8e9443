#include "core/evidence/flood_guard.h"

#include <algorithm>

namespace rauha::evidence {

void FloodGuard::refill(Bucket& bucket, int64_t nowNs) const {
  const double seconds = static_cast<double>(std::max<int64_t>(0, nowNs - bucket.filledNs)) / 1e9;
  bucket.tokens = std::min(burst_, bucket.tokens + seconds * perSecond_);
  bucket.filledNs = nowNs;
}

// A full bucket remembers nothing that a new one would not know. Looks at all of them, so not at every event.
void FloodGuard::forgetIdle(int64_t nowNs) {
  if (forgotNs_ != 0 && nowNs - forgotNs_ < 1'000'000'000) return;
  forgotNs_ = nowNs;
  for (auto it = buckets_.begin(); it != buckets_.end();) {
    refill(it->second, nowNs);
    it = it->second.refused == 0 && it->second.tokens >= burst_ ? buckets_.erase(it) : std::next(it);
  }
}

FloodGuard::Bucket& FloodGuard::bucket(const std::string& source, const std::string& zoneId, const std::string& name, int64_t nowNs) {
  const std::string key = source + '\n' + zoneId + '\n' + name;
  if (const auto found = buckets_.find(key); found != buckets_.end()) return found->second;
  if (buckets_.size() >= kMaxBuckets) forgetIdle(nowNs);
  if (buckets_.size() >= kMaxBuckets) return buckets_.try_emplace("", Bucket{burst_, nowNs, 0, 0, "several", ""}).first->second;
  return buckets_.try_emplace(key, Bucket{burst_, nowNs, 0, 0, source, zoneId}).first->second;
}

bool FloodGuard::admit(const std::string& source, const std::string& zoneId, const std::string& name, int64_t nowNs) {
  Bucket& b = bucket(source, zoneId, name, nowNs);
  refill(b, nowNs);
  if (b.tokens >= 1) {
    b.tokens -= 1;
    return true;
  }
  if (b.refused++ == 0) {
    b.refusedSinceNs = nowNs;
    ++flooding_;
  }
  return false;
}

std::vector<FloodGuard::Flood> FloodGuard::due(int64_t nowNs, int64_t ageNs) {
  std::vector<Flood> out;
  if (flooding_ == 0) return out;
  for (auto& [key, b] : buckets_) {
    if (b.refused == 0 || nowNs - b.refusedSinceNs < ageNs) continue;
    out.push_back({b.source, b.zoneId, b.refused});
    b.refused = 0;
    --flooding_;
  }
  return out;
}

}  // namespace rauha::evidence
