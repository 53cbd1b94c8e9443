#include "core/base/units.h"

#include <utility>

#include <charconv>
#include <cstdio>

namespace rauha {
namespace {

struct Unit {
  std::string_view suffix;
  uint64_t factor;
};

std::optional<uint64_t> parse(std::string_view text, const Unit* units, size_t count, uint64_t max) noexcept {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  if (suffix.empty()) return number == 0 ? std::optional<uint64_t>(0) : std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    if (units[i].suffix != suffix) continue;
    if (number > max / units[i].factor) return std::nullopt;
    return number * units[i].factor;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> parseBytes(std::string_view text) noexcept {
  static constexpr Unit units[] = {
      {"B", 1},     {"KiB", 1ULL << 10},    {"MiB", 1ULL << 20},          {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40},
      {"KB", 1000}, {"MB", 1000ULL * 1000}, {"GB", 1000ULL * 1000 * 1000}};
  return parse(text, units, std::size(units), INT64_MAX);
}

std::optional<uint64_t> parseDurationMs(std::string_view text) noexcept {
  static constexpr Unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  return parse(text, units, std::size(units), 10ULL * 365 * 24 * 3'600'000);
}

std::string formatDurationMs(uint64_t milliseconds) {
  constexpr std::pair<uint64_t, const char*> kUnits[] = {{3'600'000, "h"}, {60'000, "m"}, {1000, "s"}};
  for (const auto& [size, unit] : kUnits)
    if (milliseconds != 0 && milliseconds % size == 0) return std::to_string(milliseconds / size) + unit;
  return std::to_string(milliseconds) + "ms";
}

std::string formatBytes(uint64_t bytes) {
  static constexpr const char* names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(names)) value /= 1024, ++unit;
  char out[32];
  snprintf(out, sizeof out, unit == 0 || value == static_cast<uint64_t>(value) ? "%.0f%s" : "%.1f%s", value, names[unit]);
  return out;
}

}  // namespace rauha
