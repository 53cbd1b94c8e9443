#include "core/plugin/call_watch.h"

#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::plugin {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

class CallWatchTest : public testing::Test {
 protected:
  std::vector<std::string> told;
  CallWatch watch{"p", {}, [this](const std::string& text) { told.push_back(text); }};
};

TEST_F(CallWatchTest, ACallInTimeIsNoNews) {
  watch.end(watch.begin("backend", "probe", monotonicNs() + kSecond));
  EXPECT_TRUE(watch.check(monotonicNs() + 100 * kSecond).empty());
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(watch.health().overruns, 0u);
}

TEST_F(CallWatchTest, AnOverrunIsToldOnceWhileItRunsAndOnceAtItsEnd) {
  const int64_t deadline = monotonicNs() - 10 * kSecond;
  const uint64_t number = watch.begin("backend", "zone_create", deadline);
  watch.check(deadline + 4 * kSecond);
  EXPECT_TRUE(told.empty());
  watch.check(deadline + 6 * kSecond);
  watch.check(deadline + 7 * kSecond);
  EXPECT_EQ(told, std::vector<std::string>{"zone_create did not return 6.0 s after its deadline"});
  watch.end(number);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].rfind("zone_create returned 10", 0), 0u) << told[1];
  EXPECT_EQ(watch.health().overruns, 1u);
  EXPECT_EQ(watch.health().lastOverrun, told[1]);
}

TEST_F(CallWatchTest, StuckCallsAreGivenUntilAbandoned) {
  const uint64_t number = watch.begin("backend", "zone_create", kSecond);
  EXPECT_TRUE(watch.check(30 * kSecond).empty());
  const auto stuck = watch.check(32 * kSecond);
  ASSERT_EQ(stuck.size(), 1u);
  EXPECT_EQ(stuck[0].plugin, "p");
  EXPECT_EQ(stuck[0].function, "zone_create");
  EXPECT_EQ(stuck[0].thread, std::this_thread::get_id());
  EXPECT_EQ(watch.check(32 * kSecond).size(), 1u);
  watch.abandoned(number);
  EXPECT_TRUE(watch.check(33 * kSecond).empty());
  EXPECT_EQ(watch.health().stuck, 1u);
  watch.end(number);
  EXPECT_EQ(watch.health().stuck, 0u);
  EXPECT_EQ(watch.health().abandoned, 1u);
}

TEST_F(CallWatchTest, APluginWithTooManyStuckCallsIsNotCalled) {
  std::vector<uint64_t> numbers;
  for (int i = 0; i < 4; ++i) {
    numbers.push_back(watch.begin("backend", "zone_create", kSecond));
    watch.abandoned(numbers.back());
  }
  try {
    watch.begin("backend", "probe", kSecond);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "p is not called any more: 4 of its calls have not returned");
    EXPECT_EQ(e.code(), Code::busy);
  }
  watch.end(numbers[0]);
  watch.end(watch.begin("backend", "probe", monotonicNs() + kSecond));
}

// Whoever was told to give up and does not is as late as who overruns the deadline.
TEST_F(CallWatchTest, ACancelIsADeadline) {
  const auto token = std::make_shared<CancelToken>();
  const uint64_t number = watch.begin("image", "resolve", monotonicNs() + 3600 * kSecond, token);
  EXPECT_TRUE(watch.check(monotonicNs() + 100 * kSecond).empty());
  token->cancel();
  EXPECT_EQ(watch.check(monotonicNs() + 31 * kSecond).size(), 1u);
  EXPECT_EQ(told.size(), 1u);
  watch.end(number);
}

TEST_F(CallWatchTest, ACallbackIsToldOnce) {
  watch.checkCallback(4 * kSecond, kSecond);
  EXPECT_TRUE(told.empty());
  watch.checkCallback(7 * kSecond, kSecond);
  watch.checkCallback(8 * kSecond, kSecond);
  EXPECT_EQ(told, std::vector<std::string>{"a callback of a timer or watch has been running for 6.0 s"});
  EXPECT_EQ(watch.health().overruns, 1u);
}

}  // namespace
}  // namespace rauha::plugin
