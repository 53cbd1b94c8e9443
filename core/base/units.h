#pragma once
// Sizes and durations as people write them. Nothing is guessed: a number without a unit is refused unless it is 0.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rauha {
// "512MiB", "2GiB", "64KiB", "100B", also KB/MB/GB (powers of ten). nullopt: malformed or over 2^63-1.
std::optional<uint64_t> parseBytes(std::string_view text) noexcept;
// "500ms", "30s", "5m", "2h"; the result is milliseconds. nullopt: malformed or over 10 years.
std::optional<uint64_t> parseDurationMs(std::string_view text) noexcept;
// The shortest that parseDurationMs reads back as the same: "20m", "90s", "1500ms".
std::string formatDurationMs(uint64_t milliseconds);
// "1.5GiB", for people.
std::string formatBytes(uint64_t bytes);
}  // namespace rauha
