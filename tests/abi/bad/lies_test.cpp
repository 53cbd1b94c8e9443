// What a plugin that has taken its process over may say to the daemon, in well-formed messages: nothing of it is believed, and what is
// wrong is told in words. Broken messages: remote_test.cpp, HostileHost.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/plugin/adapters.h"
#include "core/plugin/remote/remote_plugin.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

bool isClean(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

class Lies : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    const std::string libexec = fixture.directory() + "/libexec", store = fixture.config.stateDir + "/plugins/bad-image";
    std::filesystem::create_directories(libexec);
    std::filesystem::create_directories(store + "/layer");
    std::filesystem::create_directories(store + "-other");
    std::filesystem::copy_file(RAUHA_LYING_PLUGIN_HOST, libexec + "/rauha-plugin-host");
    std::filesystem::create_directory_symlink(store, store + "/link");
    mkfifo((store + "/fifo").c_str(), 0600);
    close(open((store + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    fixture.config.libexecDir = libexec;
    HostCallbacks callbacks;
    callbacks.log = [this](LogLevel, std::string_view, std::string_view line) {
      std::lock_guard lock(fixture.mutex);
      fixture.logs.emplace_back(line);
    };
    callbacks.event = [this](PluginEvent&& event) {
      if (event.name == "lying.flood") ++events;
      return true;
    };
    RemotePatience patience;
    patience.firstDelayNs = 1'000'000;
    plugin = std::make_shared<RemotePlugin>(inspectPlugin(fixture.install("bad-image"), {256u << 20, true}, std::nullopt), fixture.config,
                                            "", defaultIsolation(), std::move(callbacks), patience);
    images = adaptImages(plugin);
  }
  Error errorOf(const std::string& reference, bool inspect = false) {
    ImageRequest request;
    request.reference = reference;
    request.lease = "zone_x";
    try {
      if (inspect)
        images->inspect({}, request);
      else
        images->resolve({}, request);
    } catch (const Error& e) {
      return e;
    }
    return Error("none", Code::none, "no error");
  }
  PluginRecord record() const {
    PluginRecord out;
    plugin->describe(out);
    return out;
  }

  LoadedRegistry fixture;
  std::atomic<int> events{0};
  std::shared_ptr<RemotePlugin> plugin;
  std::unique_ptr<ImageSource> images;
};

struct Lie {
  const char* reference;
  const char* answer;
};
const Lie kLies[] = {{"layer-outside", "layer /etc is not in the plugin's directory"},
                     {"layer-climbs", "open layer "},
                     {"layer-nul", "an image layer's path has NUL bytes"},
                     {"layer-long", "bytes, at most 4095"},
                     {"layer-beside", "bad-image-other is not in the plugin's directory"},
                     {"layer-store", "is not in the plugin's directory"},
                     {"layer-missing", "No such file or directory"},
                     {"layer-fifo", "Not a directory"},
                     {"layer-file", "Not a directory"},
                     {"layer-link", "Too many levels of symbolic links"},
                     {"layer-no-source", "a layer's directory_fd_borrow -1 is not an open directory"},
                     {"layer-mapping", "an image layer has the unknown id mapping 77"},
                     {"layer-digest", "an image layer's digest \"sha256:beef\" is not sha256: and 64 hex digits"},
                     {"layers-many", "129 layers, at most 128"},
                     {"layers-huge", "200000"},
                     {"bind-outside", "binds /etc/shadow, which its process may not read"},
                     {"bind-climbs", "is not an absolute path without \"..\""},
                     {"bind-store", "which its process may not read"},
                     {"mount-kind", "unknown kind 99"},
                     {"mount-flags", "an image mount has unknown flag bits"},
                     {"mount-target", "is not an absolute path without \"..\""},
                     {"mounts-huge", "answered with a list of 100000, at most 10000"},
                     {"none", "returned OK with 0 images, expected 1"},
                     {"two", "returned OK with 2 images, expected 1"},
                     {"images-huge", "answered with a list of 300000, at most 10000"},
                     {"code-unknown", "odd"},
                     {"error-empty", "resolve returned INVALID without a message"},
                     {"reference-nul", "an image's reference has NUL bytes"},
                     {"reference-binary", "an image's reference is not UTF-8"},
                     {"reference-long", "an image's reference has 10000 bytes, at most 4096"},
                     {"digest", "an image's digest \"md5:1\" is not sha256: and 64 hex digits"},
                     {"config-long", "an image's configuration has 5242880 bytes, at most 4194304"}};

TEST_F(Lies, AreNotBelieved) {
  ASSERT_EQ(errorOf("good").text(), "no error");
  for (const auto& lie : kLies) {
    const Error e = errorOf(lie.reference);
    EXPECT_NE(e.text().find(lie.answer), std::string::npos) << lie.reference << ": " << e.text();
    EXPECT_NE(e.code(), Code::none) << lie.reference;
    EXPECT_TRUE(isClean(e.text()) && e.text().size() < 4096) << lie.reference << ": " << e.text();
  }
  EXPECT_NE(errorOf("layer-climbs", true).text().find("is not an absolute path without \"..\""), std::string::npos)
      << "what is not opened is looked at as well";
  EXPECT_EQ(record().restarts, 0u) << "a lie ends nothing";
  EXPECT_EQ(errorOf("good").text(), "no error");
}

TEST_F(Lies, TextsAreCutAndCleaned) {
  const Error controls = errorOf("error-controls"), longOne = errorOf("error-long");
  EXPECT_EQ(controls.text(), "a [2Jb c d\xef\xbf\xbd");
  for (const auto& text : {controls.hint(), longOne.text(), longOne.hint()}) EXPECT_TRUE(isClean(text) && text.size() < 600) << text.size();
  for (const auto& line : record().confinement) EXPECT_TRUE(isClean(line) && line.size() < 300) << line;
  EXPECT_TRUE(isClean(plugin->license()) && plugin->license().size() < 100);
  EXPECT_LE(plugin->provides().size(), 16u);
}

TEST_F(Lies, AListIsBounded) {
  try {
    images->list({});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.text().find("answered with a list of 20000, at most 10000"), std::string::npos) << e.text();
  }
}

TEST_F(Lies, AMessageBombEndsTheProcess) {
  const Error e = errorOf("bomb");
  EXPECT_NE(e.text().find("during resolve"), std::string::npos) << e.text();
  EXPECT_EQ(errorOf("good").text(), "no error");
  EXPECT_EQ(record().restarts, 1u);
}

TEST_F(Lies, AFloodIsCutOff) {
  const int64_t began = monotonicNs();
  EXPECT_EQ(errorOf("flood").text(), "no error");
  EXPECT_EQ(errorOf("good").text(), "no error");
  EXPECT_EQ(record().restarts, 0u);
  const double seconds = static_cast<double>(monotonicNs() - began) / 1e9;
  EXPECT_LE(events, 801 + 400 * seconds);
  const PluginHealth health = plugin->host().health();
  EXPECT_GT(health.violations, 1000u) << "counted, whatever it said";
  EXPECT_TRUE(isClean(health.lastViolation) && health.lastViolation.size() < 2000);
  std::lock_guard lock(fixture.mutex);
  EXPECT_LE(static_cast<double>(fixture.logs.size()), 420 + 110 * seconds);
  for (const auto& line : fixture.logs) EXPECT_TRUE(isClean(line) && line.size() < 5000) << line;
}

}  // namespace
}  // namespace rauha::plugin
