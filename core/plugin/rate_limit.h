#pragma once
// A token bucket: at most `perSecond` on average, and `burst` at once. Thread: any.

#include <algorithm>
#include <cstdint>
#include <mutex>

namespace rauha::plugin {

class RateLimit final {
 public:
  RateLimit(double perSecond, double burst) : perSecond_(perSecond), burst_(burst), tokens_(burst) {}
  bool admit(int64_t nowNs) noexcept {
    std::lock_guard lock(mutex_);
    if (lastNs_ != 0) tokens_ = std::min(burst_, tokens_ + perSecond_ * static_cast<double>(nowNs - lastNs_) / 1e9);
    lastNs_ = nowNs;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  std::mutex mutex_;
  const double perSecond_, burst_;
  double tokens_;
  int64_t lastNs_ = 0;
};

}  // namespace rauha::plugin
