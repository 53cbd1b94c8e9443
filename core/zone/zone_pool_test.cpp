#include "core/zone/zone_pool.h"

#include <gtest/gtest.h>

#include "core/testing/core_fixture.h"

namespace rauha {
namespace {

constexpr int64_t kMs = 1'000'000;

class ZonePoolTest : public testing::CoreFixture {
 protected:
  ZonePoolTest() { backend_.preparing = true; }
  ~ZonePoolTest() noexcept override { zones_.closePool().wait(io_.waitScope); }
  template <typename F>
  bool eventually(F&& f) {
    for (int i = 0; i < 2000 && !f(); ++i) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
    return f();
  }
  ZoneRequest requestFor(const ZonePool::Id& id) {
    ZoneRequest request = zoneRequest("", true);
    request.id = id.text();
    return request;
  }
};

TEST_F(ZonePoolTest, NothingIsPreparedUnlessConfigured) {
  { const auto id = zones_.takeId(true); }
  io_.provider->getTimer().afterDelay(50 * kj::MILLISECONDS).wait(io_.waitScope);
  EXPECT_EQ(zones_.prepared(), 0u);
  EXPECT_EQ(backend_.zones().size(), 0u);
}

TEST_F(ZonePoolTest, EachTaskGetsOneOfItsOwn) {
  zones_.setPool({2, 10'000 * kMs});
  const std::string first = zones_.takeId(true).text();
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 2; }));
  EXPECT_EQ(backend_.zones().count(first), 0u) << "the first task wakes the pool, and gets nothing of it";
  std::set<std::string> seen{first};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(eventually([&] { return zones_.prepared() == 2 && backend_.zones().size() == 2; }));
    auto id = zones_.takeId(true);
    EXPECT_EQ(backend_.zones().count(id.text()), 1u);
    EXPECT_TRUE(seen.insert(id.text()).second) << "given out twice";
    const auto zone = wait(zones_.create(requestFor(id)));
    id.used();
    wait(zones_.destroy(zone->id));
  }
  zones_.closePool().wait(io_.waitScope);
  expectNothingLeft();
}

TEST_F(ZonePoolTest, WhatNoZoneCameOfIsRemoved) {
  zones_.setPool({1, 10'000 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 1; }));
  std::string id;
  {
    const auto taken = zones_.takeId(true);
    id = taken.text();
  }
  EXPECT_TRUE(eventually([&] { return backend_.zones().count(id) == 0; }));
}

TEST_F(ZonePoolTest, WithoutTasksItIsEmpty) {
  zones_.setPool({2, 100 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 2; }));
  EXPECT_TRUE(eventually([&] { return backend_.zones().empty(); }));
  EXPECT_EQ(zones_.prepared(), 0u);
  { const auto wakes = zones_.takeId(true); }
  EXPECT_TRUE(eventually([&] { return backend_.zones().size() == 2; })) << "the next task wakes it again";
}

TEST_F(ZonePoolTest, ABackendThatPreparesNothingIsAskedOnce) {
  backend_.preparing = false;
  zones_.setPool({2, 10'000 * kMs});
  for (int i = 0; i < 3; ++i) {
    { const auto id = zones_.takeId(true); }
    io_.provider->getTimer().afterDelay(40 * kj::MILLISECONDS).wait(io_.waitScope);
  }
  EXPECT_EQ(backend_.prepareCalls(), 1u);
  EXPECT_FALSE(emitted("zone.failed"));
}

TEST_F(ZonePoolTest, AFailureIsToldAndTasksGoOn) {
  backend_.fail = {"prepareZone"};
  zones_.setPool({1, 10'000 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return emitted("zone.failed"); }));
  EXPECT_EQ(zones_.prepared(), 0u);
  auto id = zones_.takeId(true);
  const auto zone = wait(zones_.create(requestFor(id)));
  id.used();
  wait(zones_.destroy(zone->id));
  expectNothingLeft();
}

TEST_F(ZonePoolTest, ATaskThatComesWhileItsBoundaryIsMadeWaitsForThatOne) {
  zones_.setPool({1, 10'000 * kMs});
  const std::unique_lock held(backend_.prepareGate);
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return zones_.prepared() == 1; }));
  auto id = zones_.takeId(true);
  auto creating = zones_.create(requestFor(id)).promise().eagerlyEvaluate(nullptr);
  io_.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(io_.waitScope);
  EXPECT_TRUE(backend_.specs().empty());
  backend_.prepareGate.unlock();
  const auto zone = creating.wait(io_.waitScope);
  EXPECT_EQ(zone->id, id.text());
  EXPECT_FALSE(backend_.overlapped());
  id.used();
  wait(zones_.destroy(zone->id));
  backend_.prepareGate.lock();
}

TEST_F(ZonePoolTest, WhenThereIsNoRoomWhatWaitsMakesSome) {
  zones_.setPool({1, 10'000 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 1; }));
  backend_.room = 1;
  const auto zone = wait(zones_.create(zoneRequest("named", true)));
  EXPECT_EQ(backend_.zones(), std::set<std::string>{zone->id});
  wait(zones_.destroy(zone->id));
}

TEST_F(ZonePoolTest, WhatATaskGivesBackAfterItStoppedIsRemovedAsWell) {
  zones_.setPool({1, 10'000 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 1; }));
  {
    const auto held = zones_.takeId(true);
    ASSERT_EQ(backend_.zones().count(held.text()), 1u);
    zones_.stopPool();
    io_.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(io_.waitScope);
    EXPECT_EQ(backend_.zones().count(held.text()), 1u) << "it may still become a zone";
  }
  zones_.closePool().wait(io_.waitScope);
  expectNothingLeft();
}

TEST_F(ZonePoolTest, ClosedItLeavesNothingAndMakesNothing) {
  zones_.setPool({2, 10'000 * kMs});
  { const auto wakes = zones_.takeId(true); }
  ASSERT_TRUE(eventually([&] { return backend_.zones().size() == 2; }));
  zones_.closePool().wait(io_.waitScope);
  expectNothingLeft();
  { const auto late = zones_.takeId(true); }
  io_.provider->getTimer().afterDelay(50 * kj::MILLISECONDS).wait(io_.waitScope);
  expectNothingLeft();
}

}  // namespace
}  // namespace rauha
