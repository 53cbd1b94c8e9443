// Deliberately bad image plugins, in the daemon and in a process of their own: refused and contained with the same words in both places,
// named in the log and in the records (`rauha plugin list`).

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/error.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

enum class Place { daemon, process };

// A plugin alone in a registry of its own.
class Loaded {
 public:
  Loaded(const std::string& name, Place place) : path(fixture.install(name)) {
    fixture.config.libexecDir = RAUHA_LIBEXEC;
    fixture.enable(name);
    if (place == Place::process) fixture.config.enabled.front().isolation = defaultIsolation();
    fixture.load();
  }
  PluginRecord record() const { return fixture.registry->records().front(); }
  // The refusal without the path, which is another directory each time.
  std::string refusal() const {
    const std::string text = record().refusal;
    return text.rfind(path + " ", 0) == 0 ? text.substr(path.size() + 1) : text;
  }
  std::string resolve(const std::string& reference) const {
    ImageRequest request;
    request.reference = reference;
    request.lease = "zone_x";
    try {
      fixture.registry->images().resolve({}, request);
    } catch (const Error& e) {
      return std::string(codeName(e.code())) + ": " + e.text();
    }
    return "no error";
  }
  bool logHas(const std::string& text) const {
    std::lock_guard lock(fixture.mutex);
    for (const auto& line : fixture.logs)
      if (line.find(text) != std::string::npos) return true;
    return false;
  }
  // What a process reports reaches the record a moment after the answer.
  bool settles(uint64_t violations) const {
    for (int i = 0; i < 3000 && record().health.violations < violations; ++i) usleep(10'000);
    return record().health.violations == violations;
  }

  LoadedRegistry fixture;
  const std::string path;
};

struct Case {
  const char* name;
  const char* words;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class BadFile : public testing::TestWithParam<Case> {
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_P(BadFile, IsRefusedWithTheSameWordsInBothPlaces) {
  for (const Place place : {Place::daemon, Place::process}) {
    const Loaded loaded(GetParam().name, place);
    const PluginRecord record = loaded.record();
    EXPECT_FALSE(record.loaded);
    EXPECT_EQ(loaded.refusal(), GetParam().words);
    EXPECT_EQ(record.path, loaded.path);
    EXPECT_TRUE(loaded.logHas(std::string("plugins: ") + GetParam().name + " refused: " + record.refusal));
    EXPECT_EQ(record.isolation, place == Place::daemon ? "none" : "process");
    EXPECT_EQ(record.pid, 0) << "no process is left of a plugin that was refused";
  }
}
INSTANTIATE_TEST_SUITE_P(
    Each, BadFile,
    testing::Values(Case{"image-no-entry", "does not export rauha_plugin_entry_v1"},
                    Case{"image-null-entry", "returns null from rauha_plugin_entry_v1"},
                    Case{"image-small", "its descriptor says that it has 16 bytes, expected 72 to 4096"},
                    Case{"image-huge", "its descriptor says that it has 1000000 bytes, expected 72 to 4096"},
                    Case{"image-version", "says version 2.0 in its descriptor and 1.0 in its note"},
                    Case{"image-minor", "says ABI 1.1 in its descriptor and 1.9 in its note"},
                    Case{"image-major", "is built for plugin ABI 2.1, this daemon speaks 1.1"},
                    Case{"image-provides", "is of kind image but does not provide rauha.image/1"},
                    Case{"image-service", "needs the service rauha.fdstore/1, which this daemon does not have"},
                    Case{"image-null-create", "has a descriptor whose create is null"},
                    Case{"image-silent", "image-silent: create returned INTERNAL without a message"},
                    Case{"image-nothing", "image-nothing: create returned OK without an instance"},
                    Case{"image-status", "the flux is low (image-status status 1007)"},
                    Case{"image-null-table", "image-null-table: provides rauha.image/1 by its descriptor, but get_interface returned null"},
                    Case{"image-small-table", "image-small-table: table rauha.image/1 says that it has 16 bytes, expected 64 to 4096"},
                    Case{"image-null-resolve", "image-null-resolve: table rauha.image/1 has no resolve"}),
    [](const auto& each) {
      std::string name = each.param.name;
      for (char& c : name)
        if (c == '-') c = '_';
      return name;
    });

class BadImage : public testing::Test {
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(BadImage, AMissingSymbolIsNamedInBothPlaces) {
  for (const Place place : {Place::daemon, Place::process}) {
    const Loaded loaded("image-unlinkable", place);
    EXPECT_NE(loaded.refusal().find("cannot be linked: "), std::string::npos) << loaded.refusal();
    EXPECT_NE(loaded.refusal().find("undefined symbol: rauha_test_nobody_has_this"), std::string::npos) << loaded.refusal();
  }
}

TEST_F(BadImage, AServiceThatOnlyTheDaemonOffersIsRefusedByNameInAProcess) {
  EXPECT_EQ(Loaded("image-spawns", Place::daemon).refusal(), "");
  const Loaded loaded("image-spawns", Place::process);
  EXPECT_EQ(loaded.refusal(), "needs the service rauha.spawn/1, which a plugin in a process of its own does not have");
  EXPECT_EQ(loaded.record().hint, "take isolation = \"process\" out of its table in rauha.toml, if it may run in the daemon");
}

TEST_F(BadImage, ServicesAreThoseThatCanBeServed) {
  const Loaded inside("bad-image", Place::daemon), outside("bad-image", Place::process);
  // The fixture has no keeper of states.
  EXPECT_EQ(inside.resolve("services"), "busy: services: rauha.events/1 rauha.timer/1 rauha.watch/1 rauha.spawn/1, and a timer fired");
  EXPECT_EQ(outside.resolve("services"), "busy: services: rauha.events/1 rauha.timer/1 rauha.watch/1, and a timer fired");
}

TEST_F(BadImage, BreachesHaveTheSameWordsAndAreCountedInBothPlaces) {
  struct Breach {
    const char* reference;
    const char* words;
    const char* breach;  // as the list shows it; null: it is none
  };
  const std::vector<Breach> breaches{
      {"throw", "internal: bad-image: resolve: threw an exception through the border: boom",
       "resolve: threw an exception through the border: boom"},
      {"throw-int", "internal: bad-image: resolve: threw an exception through the border: of no known type",
       "resolve: threw an exception through the border: of no known type"},
      {"silent", "io: bad-image: resolve returned IO without a message", "resolve returned IO without a message"},
      {"unknown", "internal: odd (bad-image status 77)", "resolve returned the unknown status 77: odd"},
      {"own", "internal: the flux is low (bad-image status 1007)", nullptr},
      {"controls", "invalid: red  [31m  line two \xef\xbf\xbd", nullptr},
      {"size", "busy: but I failed anyway", "resolve: an image's info says that it has 1073741824 bytes, expected 88 to 4096"},
      {"nothing", "internal: bad-image: resolve: returned OK with 0 images, expected 1", "resolve: returned OK with 0 images, expected 1"},
      {"twice", "internal: bad-image: resolve: returned OK with 2 images, expected 1", "resolve: returned OK with 2 images, expected 1"},
      {"layer-first", "internal: bad-image: resolve: pushed a layer before the image's info",
       "resolve: pushed a layer before the image's info"},
      {"layer-size", "internal: bad-image: resolve: an image layer says that it has 4 bytes, expected 88 to 4096",
       "resolve: an image layer says that it has 4 bytes, expected 88 to 4096"},
      {"layer-flags", "internal: bad-image: resolve: an image layer has unknown flag bits 128",
       "resolve: an image layer has unknown flag bits 128"},
      {"layer-relative", "internal: bad-image: resolve: an image layer's path \"usr\" is not an absolute path without \"..\"",
       "resolve: an image layer's path \"usr\" is not an absolute path without \"..\""},
      {"layer-climbs", "internal: bad-image: resolve: an image layer's path \"/usr/../etc\" is not an absolute path without \"..\"",
       "resolve: an image layer's path \"/usr/../etc\" is not an absolute path without \"..\""}};
  for (const Place place : {Place::daemon, Place::process}) {
    const Loaded loaded("bad-image", place);
    uint64_t counted = 0;
    for (const auto& each : breaches) {
      EXPECT_EQ(loaded.resolve(each.reference), each.words) << each.reference;
      if (each.breach == nullptr) continue;
      ASSERT_TRUE(loaded.settles(++counted)) << each.reference << ": " << loaded.record().health.violations << ", expected " << counted;
      EXPECT_EQ(loaded.record().health.lastViolation, each.breach);
      EXPECT_TRUE(loaded.logHas(std::string("bad-image: ") + each.breach)) << each.breach;
    }
    EXPECT_EQ(loaded.record().restarts, 0u);
  }
}

}  // namespace
}  // namespace rauha::plugin
