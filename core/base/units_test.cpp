#include "core/base/units.h"

#include <gtest/gtest.h>

namespace rauha {
namespace {

TEST(Units, Bytes) {
  EXPECT_EQ(parseBytes("512MiB"), 512ULL << 20);
  EXPECT_EQ(parseBytes("2GB"), 2'000'000'000ULL);
  EXPECT_EQ(parseBytes("0"), 0ULL);
  for (auto bad : {"", "512", "MiB", "-1MiB", "1.5GiB", "1 MiB", "1mib", "99999999999TiB", "1MiBx", "+1B"})
    EXPECT_FALSE(parseBytes(bad)) << bad;
}

TEST(Units, Durations) {
  EXPECT_EQ(parseDurationMs("30s"), 30'000ULL);
  EXPECT_EQ(parseDurationMs("2h"), 7'200'000ULL);
  EXPECT_EQ(parseDurationMs("500ms"), 500ULL);
  for (auto bad : {"", "30", "s", "1d", "1e3s", "100000000h"}) EXPECT_FALSE(parseDurationMs(bad)) << bad;
}

TEST(Units, Format) {
  EXPECT_EQ(formatBytes(0), "0B");
  EXPECT_EQ(formatBytes(1536), "1.5KiB");
  EXPECT_EQ(formatBytes(64ULL << 20), "64MiB");
}

TEST(Units, DurationsReadBack) {
  for (const char* text : {"1ms", "999ms", "90s", "20m", "2h", "25h", "61s"}) EXPECT_EQ(formatDurationMs(*parseDurationMs(text)), text);
  EXPECT_EQ(formatDurationMs(0), "0ms");
  EXPECT_EQ(formatDurationMs(120'000), "2m");
}

}  // namespace
}  // namespace rauha
