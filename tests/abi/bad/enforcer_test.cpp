// What an enforcer that lies is answered with. How it is used in a zone: core/zone/enforcement_test.cpp.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/error.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

template <typename F>
std::string textOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return std::string(codeName(e.code())) + ": " + e.text();
  }
  return "no error";
}

class BadEnforcer : public testing::Test {
 protected:
  BadEnforcer() { fixture.install("bad-enforcer"); }
  Enforcer& load(const std::string& how = {}) {
    fixture.config.enabled.clear();
    fixture.enable("bad-enforcer", how);
    return fixture.load().enforcer();
  }
  PluginHealth health() const { return fixture.registry->records().front().health; }
  LoadedRegistry fixture;
};

TEST_F(BadEnforcer, CapabilitiesAreHeldToTheirHeader) {
  EXPECT_EQ(load().capabilities({}).state, EnforcerState::loadable);
  const auto capabilities = [&](const char* how) {
    Enforcer& enforcer = load(how);
    return textOf([&] { enforcer.capabilities({}); });
  };
  EXPECT_EQ(capabilities("state"), "internal: bad-enforcer: capabilities: is in the unknown state 7");
  EXPECT_EQ(capabilities("flags"), "internal: bad-enforcer: capabilities: the set of capabilities has unknown flag bits 128");
  EXPECT_EQ(capabilities("size"), "internal: bad-enforcer: capabilities: says that its capabilities have 9999 bytes");
  EXPECT_EQ(capabilities("throw"), "internal: bad-enforcer: capabilities: threw an exception through the border: boom");
  EXPECT_EQ(health().violations, 1u);
}

TEST_F(BadEnforcer, Counters) {
  Enforcer& enforcer = load();
  const auto stats = [&](const char* how) { return textOf([&] { enforcer.stats({}, how); }); };
  // A number of a newer interface is a fact under a name of its own, and stands for nothing that we know.
  const auto counters = enforcer.stats({}, "unknown");
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(operationName(counters[0].operation), "exec");
  EXPECT_EQ(operationName(counters[1].operation), "operation_4000000000");
  EXPECT_EQ(stats("twice"), "internal: bad-enforcer: stats: pushed the counters of exec twice");
  EXPECT_EQ(stats("size"), "internal: bad-enforcer: stats: counters says that it has 8 bytes, expected 48 to 4096");
  EXPECT_EQ(stats("many"), "internal: bad-enforcer: stats: pushed more than 64 counters");
  EXPECT_EQ(stats("null"), "internal: bad-enforcer: stats: counters is null");
  EXPECT_EQ(stats("silent"), "io: bad-enforcer: stats returned IO without a message");
  EXPECT_EQ(health().violations, 5u);
}

TEST_F(BadEnforcer, EventsAreCleanedOrDropped) {
  load().drain({});
  ASSERT_EQ(fixture.events.size(), 1u);
  const PluginEvent& event = fixture.events[0];
  EXPECT_EQ(event.name, "bad.clean");
  EXPECT_EQ(event.severity, 4u);
  EXPECT_EQ(event.message, "red  [31m    2J end");
  EXPECT_EQ(event.attributes, (std::vector<std::pair<std::string, std::string>>{{"k [31m ", "v  \xef\xbf\xbd"}}));
  EXPECT_EQ(health().eventsDropped, 4u);
  EXPECT_EQ(health().violations, 4u);
  EXPECT_EQ(health().lastViolation, "event dropped: zone id of an event has 41 bytes, at most 40");
  const auto told = [&](const std::string& line) { return std::count(fixture.logs.begin(), fixture.logs.end(), line); };
  EXPECT_EQ(told("bad-enforcer: event dropped: event name \"bad .name\" is not area.what"), 1);
  EXPECT_EQ(told("bad-enforcer: event dropped: zone id \"zone_  [2J\" of an event is not made of a-z, 0-9 and '_'"), 1);
  EXPECT_EQ(told("bad-enforcer: event dropped: zone id \"../../etc\" of an event is not made of a-z, 0-9 and '_'"), 1);
}

TEST_F(BadEnforcer, DiscrepanciesAreCutAndCleaned) {
  const auto found = load().verify({}, "zone_x");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].zoneId, "zone_ [31m");
  EXPECT_EQ(found[0].kind, "kind ");
  EXPECT_EQ(found[0].detail, std::string(512, ' ') + " [cut]");
}

}  // namespace
}  // namespace rauha::plugin
