#pragma once
// Time, in nanoseconds. Real time is for people and records, monotonic time for measuring.

#include <cstdint>
#include <string>

namespace rauha {
int64_t realNs() noexcept;
int64_t monotonicNs() noexcept;
// "2026-01-31T12:00:00.000Z"
std::string rfc3339(int64_t realNanoseconds);
}  // namespace rauha
