// What a plugin that misbehaves while it runs is answered with. How files are refused: loader_test.cpp; wrong answers: adapter_test.cpp;
// the same through a running daemon: tests/integration/test_plugins.py.

#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

class Keeper final : public StateKeeper {
 public:
  void put(std::string_view, std::string_view zone, std::string_view bytes) override {
    if (zone != "zone_x") throw Error("store", Code::notFound, "no zone");
    kept = bytes;
  }
  std::optional<std::string> get(std::string_view, std::string_view) override { return kept; }
  void erase(std::string_view, std::string_view) override { kept.clear(); }
  std::string kept;
};

class BadTest : public testing::Test {
 protected:
  BadTest() {
    fixture.install("bad-backend");
    fixture.state = &keeper;
  }
  Backend& load() {
    fixture.enable("bad-backend");
    return fixture.load().backend();
  }
  std::string create(const std::string& how) {
    ZoneSpec spec;
    spec.id = "zone_x";
    spec.hostname = how;
    try {
      fixture.registry->backend().createZone(options, spec);
    } catch (const Error& e) {
      return std::string(codeName(e.code())) + ": " + e.text();
    }
    return "no error";
  }
  PluginHealth health() { return fixture.registry->records().front().health; }
  // Declared before the fixture: a create that hangs uses its host to the end.
  Keeper keeper;
  LoadedRegistry fixture;
  CallOptions options;
};

TEST_F(BadTest, AnExceptionThroughTheBorderIsAnErrorOfTheCall) {
  load();
  EXPECT_EQ(create("throw"), "internal: bad-backend: zone_create: threw an exception through the border: boom");
  EXPECT_EQ(create("throw-int"), "internal: bad-backend: zone_create: threw an exception through the border: of no known type");
  EXPECT_EQ(health().violations, 2u);
  EXPECT_EQ(create("else"), "unsupported: makes no zones");
}

TEST_F(BadTest, AFailureWithoutTextOrWithAnUnknownCodeIsNamed) {
  load();
  EXPECT_EQ(create("silent"), "io: bad-backend: zone_create returned IO without a message");
  EXPECT_EQ(create("unknown"), "internal: odd (bad-backend status 77)");
  EXPECT_EQ(health().violations, 2u);
  EXPECT_EQ(health().lastViolation, "zone_create returned the unknown status 77: odd");
}

TEST_F(BadTest, ALieAboutSizesIsNamedEvenWhenTheCallFails) {
  load();
  EXPECT_EQ(create("size"), "busy: but I failed anyway");
  EXPECT_EQ(health().lastViolation, "zone_create: a layer says that it has 1073741824 bytes, expected 80 to 4096");
}

TEST_F(BadTest, AFloodIsCutOffAndCounted) {
  load();
  EXPECT_EQ(create("flood"), "limit: flooded");
  EXPECT_EQ(health().eventsDropped + fixture.events.size(), 20'000u);
  EXPECT_GT(health().eventsDropped, 10'000u);
  EXPECT_LT(fixture.logs.size(), 5'000u);
}

TEST_F(BadTest, ItsStateIsItsOwnAndBounded) {
  load();
  EXPECT_EQ(create("corrupts"), "corrupt: state: 7 2 0");
  EXPECT_EQ(keeper.kept, std::string("\0\xff\x01", 3)) << "garbage is its own affair";
}

TEST_F(BadTest, ACreateThatThrowsIsARefusal) {
  fixture.enable("bad-backend", "create = 'throw'");
  EXPECT_EQ(fixture.load().records().front().refusal, "bad-backend: create: threw an exception through the border: boom");
}

TEST_F(BadTest, ACreateThatHangsIsARefusal) {
  fixture.config.limits.createNs = fixture.config.limits.abandonNs = 100'000'000;
  fixture.enable("bad-backend", "create = 'hang'");
  EXPECT_EQ(fixture.load().records().front().refusal, "bad-backend: create did not return 100 ms after its deadline");
}

}  // namespace
}  // namespace rauha::plugin
