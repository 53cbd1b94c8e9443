#pragma once
// Token buckets that keep one chatterer from hiding everyone else's events.
//
// Not thread-safe: the bus asks under its lock. Bounded: at most kMaxBuckets chatterers are told apart; beyond, all new ones share one
// bucket.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace rauha::evidence {

class FloodGuard final {
 public:
  static constexpr size_t kMaxBuckets = 4096;
  FloodGuard(double perSecond, double burst) : perSecond_(perSecond), burst_(burst) {}

  struct Flood {
    std::string source, zoneId;
    uint64_t count = 0;
  };

  // May this event pass? name: "" unless names are to be told apart. nowNs: CLOCK_MONOTONIC.
  bool admit(const std::string& source, const std::string& zoneId, const std::string& name, int64_t nowNs);
  // Floods that began at least `ageNs` ago, with the count of refused events since they were last told; the counts start anew.
  std::vector<Flood> due(int64_t nowNs, int64_t ageNs);

 private:
  struct Bucket {
    double tokens;
    int64_t filledNs;
    uint64_t refused = 0;
    int64_t refusedSinceNs = 0;
    std::string source, zoneId;
  };
  Bucket& bucket(const std::string& source, const std::string& zoneId, const std::string& name, int64_t nowNs);
  void refill(Bucket& bucket, int64_t nowNs) const;
  void forgetIdle(int64_t nowNs);

  double perSecond_, burst_;
  size_t flooding_ = 0;  // buckets with refused > 0
  int64_t forgotNs_ = 0;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace rauha::evidence
