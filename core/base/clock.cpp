#include "core/base/clock.h"

#include <cstdio>
#include <ctime>

namespace rauha {
namespace {
int64_t read(clockid_t id) noexcept {
  timespec t{};
  clock_gettime(id, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}
}  // namespace

int64_t realNs() noexcept { return read(CLOCK_REALTIME); }
int64_t monotonicNs() noexcept { return read(CLOCK_MONOTONIC); }

std::string rfc3339(int64_t realNanoseconds) {
  const time_t seconds = static_cast<time_t>(realNanoseconds / 1'000'000'000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char date[32], out[48];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(out, sizeof out, "%s.%03dZ", date, static_cast<int>(realNanoseconds / 1'000'000 % 1000));
  return out;
}

}  // namespace rauha
