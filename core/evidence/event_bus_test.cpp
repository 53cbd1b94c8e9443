#include "core/evidence/event_bus.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <set>
#include <thread>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/evidence/flood_guard.h"
#include "core/evidence/names.h"

namespace rauha::evidence {
namespace {

Event make(std::string name, std::string zone = "", std::string source = "core") {
  Event event;
  event.name = std::move(name);
  event.zoneId = std::move(zone);
  event.source = std::move(source);
  return event;
}

EventBusOptions unlimited() {
  EventBusOptions options;
  options.burst = options.eventsPerSecond = 1e9;
  return options;
}

TEST(EventName, Shape) {
  for (auto good : {"zone.created", "task.out_of_memory", "a.b.c.d", "x1.y_2"}) EXPECT_TRUE(isEventName(good)) << good;
  for (auto bad : {"", "zone", "zone.", ".zone", "Zone.created", "a..b", "a.1b", "a.b c", "a.b.c.d.e", "a.b\n"})
    EXPECT_FALSE(isEventName(bad)) << bad;
  EXPECT_FALSE(isEventName("a." + std::string(63, 'b')));
}

TEST(EventBus, NumbersGoOnWithoutHoles) {
  EventBusOptions options;
  options.lastSequence = 41;
  EventBus bus(options);
  EXPECT_EQ(bus.emit(make("zone.created")), 42u);
  EXPECT_EQ(bus.emit(make("zone.deleted")), 43u);
  const auto recent = bus.recent(10);
  ASSERT_EQ(recent.size(), 2u);
  EXPECT_EQ(recent[1].name, "zone.deleted");
  EXPECT_GT(recent[1].timeNs, 1'600'000'000'000'000'000);
  EXPECT_EQ(bus.recent(1).at(0).sequence, 43u);
  EXPECT_EQ(bus.counters().emitted, 2u);
}

TEST(EventBus, TheRingKeepsTheLatest) {
  EventBusOptions options = unlimited();
  options.ring = 8;
  EventBus bus(options);
  for (int i = 0; i < 20; ++i) bus.emit(make("zone.created"));
  const auto recent = bus.recent(100);
  ASSERT_EQ(recent.size(), 8u);
  EXPECT_EQ(recent.front().sequence, 13u);
}

TEST(EventBus, HostileTextsAreCleanedAndBounded) {
  EventBus bus;
  Event event = make("Not A Name\n", "zone_\xff", "plug\nin");
  event.message = "line\n\x1b[31m" + std::string(5000, 'x');
  event.severity = static_cast<Severity>(99);
  for (int i = 0; i < 100; ++i) event.attributes.emplace_back("k\x01" + std::to_string(i), std::string(100, '\xfe'));
  event.attributes.emplace_back("huge", std::string(1 << 20, 'y'));
  ASSERT_NE(bus.emit(event), 0u);
  const Event kept = bus.recent(1).at(0);
  EXPECT_EQ(kept.name, "evidence.malformed");
  EXPECT_EQ(kept.attributes.at(0), (std::pair<std::string, std::string>("name", "Not A Name ")));
  EXPECT_EQ(kept.zoneId, "zone_\xEF\xBF\xBD");
  EXPECT_EQ(kept.source, "plug in");
  EXPECT_EQ(kept.severity, Severity::error);
  EXPECT_LT(kept.message.size(), 1100u);
  EXPECT_TRUE(isUtf8(kept.message));
  EXPECT_EQ(kept.message.find('\n'), std::string::npos);
  EXPECT_LE(kept.attributes.size(), 33u);
  EXPECT_EQ(kept.attributes.back().first, "truncated");
}

TEST(Collector, TakesOnlyItsZone) {
  EventBus bus;
  bus.emit(make("zone.creating", "zone_a"));
  auto collector = bus.collect("zone_a");
  bus.emit(make("zone.created", "zone_a"));
  bus.emit(make("zone.created", "zone_b"));
  bus.emit(make("daemon.started"));
  bus.emit(make("task.finished", "zone_a"));
  const auto events = collector.take();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].name, "zone.created");
  EXPECT_EQ(events[1].name, "task.finished");
  EXPECT_EQ(collector.seen(), 2u);
  EXPECT_EQ(collector.dropped(), 0u);
  EXPECT_TRUE(collector.take().empty());
}

TEST(Collector, ChatterDoesNotPushOutHowItEnded) {
  EventBus bus(unlimited());
  auto collector = bus.collect("zone_a");
  for (int i = 0; i < 1000; ++i) bus.emit(make("plug.noise", "zone_a", "plug"));
  bus.emit(make("task.out_of_memory", "zone_a"));
  const auto events = collector.take();
  ASSERT_EQ(events.size(), Collector::kCapacity - Collector::kReserve + 1);
  EXPECT_EQ(events.back().name, "task.out_of_memory");
  EXPECT_EQ(collector.dropped(), 1000 - (Collector::kCapacity - Collector::kReserve));
  EXPECT_EQ(collector.seen(), 1001u);
}

TEST(Collector, OutlivesTheBus) {
  auto bus = std::make_unique<EventBus>();
  auto collector = bus->collect("zone_a");
  bus->emit(make("zone.created", "zone_a"));
  bus.reset();
  EXPECT_EQ(collector.take().size(), 1u);
}

TEST(Flood, IsCountedWhereItIsMissingAndAnnounced) {
  EventBusOptions options;
  options.eventsPerSecond = 1e-6;
  options.burst = 10;
  EventBus bus(options);
  auto mine = bus.collect("zone_a");
  auto other = bus.collect("zone_b");
  for (int i = 0; i < 50; ++i) bus.emit(make("plug.denied" + std::to_string(i), "zone_a", "plug"));
  // Neither another zone's nor core's events suffer.
  EXPECT_NE(bus.emit(make("plug.denied", "zone_b", "plug")), 0u);
  EXPECT_NE(bus.emit(make("task.finished", "zone_a")), 0u);
  EXPECT_EQ(mine.dropped(), 40u);
  EXPECT_EQ(other.dropped(), 0u);
  EXPECT_EQ(bus.counters().dropped, 40u);

  bus.flush();
  const Event told = bus.recent(1).at(0);
  EXPECT_EQ(told.name, names::kEvidenceDropped);
  EXPECT_EQ(told.zoneId, "zone_a");
  EXPECT_EQ(told.attributes, (std::vector<std::pair<std::string, std::string>>{{"source", "plug"}, {"count", "40"}}));
  EXPECT_EQ(told.sequence, bus.counters().emitted);
  const auto before = bus.counters().emitted;
  bus.flush();
  EXPECT_EQ(bus.counters().emitted, before);
}

TEST(Flood, CoresNamesAreToldApart) {
  EventBusOptions options;
  options.eventsPerSecond = 1e-6;
  options.burst = 5;
  EventBus bus(options);
  for (int i = 0; i < 100; ++i) bus.emit(make("client.refused"));
  EXPECT_EQ(bus.counters().dropped, 95u);
  EXPECT_NE(bus.emit(make("zone.failed")), 0u);
}

TEST(FloodGuard, RefillsAndTellsOldFloodsOnly) {
  FloodGuard guard(10, 2);
  const int64_t second = 1'000'000'000;
  EXPECT_TRUE(guard.admit("s", "", "", 0));
  EXPECT_TRUE(guard.admit("s", "", "", 0));
  EXPECT_FALSE(guard.admit("s", "", "", 0));
  EXPECT_TRUE(guard.admit("s", "", "", second / 10 + 1));
  EXPECT_TRUE(guard.due(second / 2, second).empty());
  const auto due = guard.due(second, second);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].count, 1u);
  EXPECT_TRUE(guard.due(2 * second, second).empty());
}

TEST(FloodGuard, SourcesWithoutEndShareOneBucket) {
  FloodGuard guard(0.001, 3);
  int admitted = 0;
  for (int i = 0; i < 20000; ++i) admitted += guard.admit("s" + std::to_string(i), "", "", 1) ? 1 : 0;
  EXPECT_EQ(admitted, static_cast<int>(FloodGuard::kMaxBuckets) + 3);
  // Buckets that are full again are forgotten.
  EXPECT_TRUE(guard.admit("later", "", "", 1'000'000'000'000'000));
}

TEST(Subscription, WakesForItsZoneAndInOrder) {
  auto io = kj::setupAsyncIo();
  EventBus bus;
  auto subscription = bus.subscribe("zone_a");
  auto ready = subscription.whenReady();
  bus.emit(make("zone.created", "zone_b"));
  EXPECT_FALSE(ready.poll(io.waitScope));
  bus.emit(make("zone.created", "zone_a"));
  bus.emit(make("zone.deleted", "zone_a"));
  ready.wait(io.waitScope);
  EXPECT_EQ(subscription.take(1).at(0).name, "zone.created");
  EXPECT_TRUE(subscription.whenReady().poll(io.waitScope));
  EXPECT_EQ(subscription.take(10).at(0).name, "zone.deleted");
  EXPECT_TRUE(subscription.take(10).empty());
}

TEST(Subscription, ASlowReaderLosesOnlyItsOwnAndKnowsIt) {
  auto io = kj::setupAsyncIo();
  EventBus bus;
  auto slow = bus.subscribe("", 3);
  auto fast = bus.subscribe("");
  for (int i = 0; i < 10; ++i) bus.emit(make("zone.created"));
  EXPECT_EQ(slow.take(100).size(), 3u);
  EXPECT_EQ(slow.takeDropped(), 7u);
  EXPECT_EQ(slow.takeDropped(), 0u);
  EXPECT_EQ(fast.take(100).size(), 10u);
}

TEST(Subscription, ADroppedOneCostsNothing) {
  auto io = kj::setupAsyncIo();
  EventBus bus;
  {
    auto gone = bus.subscribe("");
    auto promise = gone.whenReady();
  }
  auto cancelled = bus.subscribe("");
  { auto promise = cancelled.whenReady(); }
  EXPECT_NE(bus.emit(make("zone.created")), 0u);
  EXPECT_EQ(cancelled.take(9).size(), 1u);
}

TEST(Subscription, ASecondWaiterTakesOver) {
  auto io = kj::setupAsyncIo();
  EventBus bus;
  auto subscription = bus.subscribe("");
  auto first = subscription.whenReady();
  auto second = subscription.whenReady();
  EXPECT_TRUE(kj::runCatchingExceptions([&] { first.wait(io.waitScope); }) != nullptr);
  bus.emit(make("zone.created"));
  second.wait(io.waitScope);
}

TEST(Subscription, TheEndOfTheBusIsTold) {
  auto io = kj::setupAsyncIo();
  auto bus = std::make_unique<EventBus>();
  auto subscription = bus->subscribe("");
  auto promise = subscription.whenReady();
  bus.reset();
  EXPECT_TRUE(kj::runCatchingExceptions([&] { promise.wait(io.waitScope); }) != nullptr);
}

TEST(EventBus, ManyThreadsWakeTheLoopAndNothingIsLost) {
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  auto io = kj::setupAsyncIo();
  EventBus bus(unlimited());
  auto subscription = bus.subscribe("", kThreads * kEach);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&bus, t] {
      for (int i = 0; i < kEach; ++i) bus.emit(make("plug.event", "", "plug" + std::to_string(t)));
    });
  std::vector<uint64_t> sequences;
  while (sequences.size() < size_t{kThreads} * kEach) {
    subscription.whenReady().wait(io.waitScope);
    for (const auto& event : subscription.take(64)) sequences.push_back(event.sequence);
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < sequences.size(); ++i) ASSERT_EQ(sequences[i], i + 1);
  EXPECT_EQ(subscription.takeDropped(), 0u);
}

TEST(WriteEvent, AbsentTextsStayAbsent) {
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<schema::Event>();
  Event event = make("task.finished", "zone_a");
  event.sequence = 7;
  event.severity = Severity::notice;
  event.attributes = {{"status", "failed"}};
  writeEvent(out, event);
  EXPECT_EQ(out.getSequence(), 7u);
  EXPECT_TRUE(out.getTime() == "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(out.getSeverity(), schema::Severity::NOTICE);
  EXPECT_TRUE(out.getZoneId() == "zone_a");
  EXPECT_FALSE(out.hasTaskId());
  EXPECT_FALSE(out.hasMessage());
  EXPECT_TRUE(out.getAttributes()[0].getValue() == "failed");
}

}  // namespace
}  // namespace rauha::evidence
