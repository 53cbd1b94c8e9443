#include "frontends/cli/changes/line_diff.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>

namespace rauha::cli {
namespace {

using Lines = std::vector<std::string_view>;

// The blocks, applied to the old text, give the new one; what stands between them is equal. Returns the number of changed lines.
size_t check(const std::string& before, const std::string& after) {
  const Lines a = splitLines(before), b = splitLines(after);
  std::string rebuilt;
  size_t at = 0, other = 0, changed = 0;
  LineWork work;
  for (const auto& block : diffLines(a, b, work)) {
    EXPECT_GE(block.oldBegin, at);
    EXPECT_EQ(block.oldBegin - at, block.newBegin - other) << "equal runs have one length";
    for (; at < block.oldBegin; ++at, ++other) {
      EXPECT_EQ(a[at], b[other]);
      rebuilt += a[at];
    }
    for (size_t i = block.newBegin; i < block.newEnd; ++i) rebuilt += b[i];
    changed += block.oldEnd - block.oldBegin + block.newEnd - block.newBegin;
    at = block.oldEnd;
    other = block.newEnd;
  }
  for (; at < a.size(); ++at) rebuilt += a[at];
  EXPECT_EQ(rebuilt, after);
  return changed;
}

TEST(LineDiff, splitsWithTheirBreaks) {
  EXPECT_EQ(splitLines("a\n\nb"), (Lines{"a\n", "\n", "b"}));
  EXPECT_TRUE(splitLines("").empty());
}

TEST(LineDiff, smallOnes) {
  EXPECT_EQ(check("", ""), 0u);
  EXPECT_EQ(check("", "a\n"), 1u);
  EXPECT_EQ(check("a\n", ""), 1u);
  EXPECT_EQ(check("a\nb\nc\n", "a\nb\nc\n"), 0u);
  EXPECT_EQ(check("a\nb\nc\n", "a\nx\nc\n"), 2u);
  EXPECT_EQ(check("a\n", "a"), 2u) << "a missing line break is a difference";
  EXPECT_EQ(check("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n"), 5u) << "the example of Myers' paper: five edits";
}

TEST(LineDiff, findsAShortestScriptOrAtLeastACorrectOne) {
  // Against the textbook's table, over small alphabets where many lines repeat.
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (int round = 0; round < 3000; ++round) {
    std::string before, after;
    const unsigned letters = 1 + random() % 4;
    for (unsigned i = random() % 14; i > 0; --i) before += std::string(1, static_cast<char>('a' + random() % letters)) + "\n";
    for (unsigned i = random() % 14; i > 0; --i) after += std::string(1, static_cast<char>('a' + random() % letters)) + "\n";
    const Lines a = splitLines(before), b = splitLines(after);
    std::vector<std::vector<size_t>> common(a.size() + 1, std::vector<size_t>(b.size() + 1));
    for (size_t i = 1; i <= a.size(); ++i)
      for (size_t j = 1; j <= b.size(); ++j)
        common[i][j] = a[i - 1] == b[j - 1] ? common[i - 1][j - 1] + 1 : std::max(common[i - 1][j], common[i][j - 1]);
    ASSERT_EQ(check(before, after), a.size() + b.size() - 2 * common[a.size()][b.size()]) << before << "--\n" << after;
  }
}

TEST(LineDiff, hostileTextsCostLittle) {
  // 100 000 lines a side, all of them on both sides, in no common order.
  std::mt19937 random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  std::vector<std::string> lines;
  lines.reserve(100'000);
  for (int i = 0; i < 100'000; ++i) lines.push_back(std::to_string(random() % 50'000) + "\n");
  std::string before, after;
  for (const auto& line : lines) before += line;
  std::shuffle(lines.begin(), lines.end(), random);
  for (const auto& line : lines) after += line;
  const auto start = std::chrono::steady_clock::now();
  check(before, after);
  // Without the bound it is some 10^10 steps: minutes. With it a second, and this machine may be busy.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  // One line repeated: every line equals every other.
  std::string many, more;
  for (int i = 0; i < 100'000; ++i) many += "x\n";
  for (int i = 0; i < 90'000; ++i) more += "x\n";
  EXPECT_EQ(check(many, more), 10'000u);
}

}  // namespace
}  // namespace rauha::cli
