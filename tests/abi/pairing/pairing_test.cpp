// Old and new, host and plugin, in all four pairings. This file and the real adapters are built twice: with the SDK's headers, and with
// headers in which every struct has grown by a field and every table by a function (make_next.py). Each host meets a plugin that was built
// from the kept headers of 1.0 and one that was built from the grown ones.

#include <gtest/gtest.h>
#include <rauha/backend.h>
#include <rauha/image.h>

#include "core/base/error.h"
#include "core/plugin/adapters.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/service_tables.h"
#include "core/plugin/test_directory.h"

namespace rauha::plugin {
namespace {

#ifdef RAUHA_ABI_NEXT
constexpr bool kNewHost = true;
#else
constexpr bool kNewHost = false;
#endif

class Kept final : public StateKeeper {
 public:
  void put(std::string_view, std::string_view zone, std::string_view bytes) override {
    put_ = std::string(zone) + "=" + std::string(bytes);
  }
  std::optional<std::string> get(std::string_view, std::string_view) override { return std::nullopt; }
  void erase(std::string_view, std::string_view) override {}
  std::string put_;
};

// The parameter: is the plugin the new one?
class Pairing : public testing::TestWithParam<bool> {
 protected:
  Pairing() {
    config.instance = "rauha-test";
    config.stateDir = directory.path();
    callbacks.state = &kept;
    callbacks.log = [this](LogLevel, std::string_view, std::string_view text) { logs.emplace_back(text); };
    callbacks.event = [this](PluginEvent&& e) {
      events.push_back(std::move(e));
      return true;
    };
  }
  bool newPlugin() const { return GetParam(); }
  std::shared_ptr<LoadedPlugin> load(const std::string& kind) {
    const std::string path = std::string(RAUHA_TEST_PLUGINS) + "/pairing-" + kind + (newPlugin() ? "-next" : "-v1") + ".so";
    TrustRules rules;
    rules.insecureDirectories = true;  // a checkout may lie anywhere
    return std::make_shared<LoadedPlugin>(openPlugin(inspectPlugin(path, rules, std::nullopt), offeredServices(callbacks)), config, "",
                                          callbacks);
  }
  ZoneSpec spec() const {
    ZoneSpec out;
    out.id = "zone_1";
    out.hostname = "box";
    out.records = {{RAUHA_ZONE_PIDS, 5, ""}};
    return out;
  }
  TestDirectory directory;
  PluginConfig config;
  HostCallbacks callbacks;
  Kept kept;
  std::vector<PluginEvent> events;
  std::vector<std::string> logs;
  CallOptions options;
};

template <typename F>
std::string textOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return std::string(codeName(e.code())) + ": " + e.text();
  }
  return "no error";
}

TEST_P(Pairing, ABackendWorks) {
  const auto backend = adaptBackend(load("backend"));
  EXPECT_EQ(backend->probe(options).at(0).detail, "probed");
  const ZoneHandle handle = backend->createZone(options, spec());
  EXPECT_TRUE(handle.agent);
  EXPECT_EQ(handle.shimPid, 4242);
  EXPECT_EQ(handle.layers.at(0).detail, "box next 0");
  EXPECT_EQ(kept.put_, "zone_1=kept");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].attributes.at(1).second, "two");
  backend->updateZone(options, spec());
  backend->checkZone(options, "zone_1");
  backend->destroyZone(options, "zone_1");
  EXPECT_EQ(backend->reconcile(options, {"zone_1", "zone_2"}).at(1).zoneId, "zone_2");
  EXPECT_EQ(textOf([&] { backend->connectZone(options, "zone_1"); }), "not_found: no such zone");
  EXPECT_TRUE(logs.empty()) << logs[0];
}

TEST_P(Pairing, ARecordThatIsNotKnownIsRefused) {
  const auto backend = adaptBackend(load("backend"));
  ZoneSpec s = spec();
  s.records.push_back({1000, 1, ""});
  EXPECT_EQ(textOf([&] { backend->createZone(options, s); }), newPlugin() ? "no error" : "unsupported: unknown critical record");
}

TEST_P(Pairing, ImagesWork) {
  const auto images = adaptImages(load("image"));
  ImageRequest request;
  request.reference = "x";
  const ResolvedImage image = images->resolve(options, request);
  EXPECT_EQ(image.info.reference, "x");
  EXPECT_EQ(image.layers.at(0).path, "/layers/1");
  EXPECT_EQ(image.mounts.at(0).target, "/usr");
  EXPECT_EQ(images->list(options).size(), 1u);
  EXPECT_EQ(images->inspect(options, request).info.source, "pairing");
  images->remove(options, "x");
  images->release(options, "zone_1");
  images->reconcile(options, {"zone_1"});
  EXPECT_TRUE(logs.empty()) << logs[0];
}

// A mount that asks for what the host does not know must not be made without it.
TEST_P(Pairing, WhatIsAskedForAndNotKnownIsRefused) {
  const auto images = adaptImages(load("image"));
  ImageRequest request;
  request.reference = "uses-next";
  const std::string text = textOf([&] { images->resolve(options, request); });
  if (newPlugin() && !kNewHost) {
    const std::string expected = "an image mount has 64 bytes and uses those beyond the 56 that this daemon (ABI 1.1) knows";
    EXPECT_NE(text.find(expected), std::string::npos) << text;
  } else {
    EXPECT_EQ(text, "no error");
  }
}

#ifdef RAUHA_ABI_NEXT
// The new host uses what only it knows.
TEST_P(Pairing, AFieldThatTheOldPluginDoesNotKnowIsRefusedUnlessZero) {
  const auto plugin = load("backend");
  const auto* table = static_cast<const rauha_backend_v1*>(plugin->table(RAUHA_BACKEND_V1));
  rauha_zone_spec raw{};
  raw.struct_size = sizeof raw;
  raw.zone_id = toStr("zone_1");
  raw.hostname = toStr("box");
  std::string detail;
  const rauha_layer_sink sink{
      sizeof sink, 0, &detail,
      [](void* to, const rauha_layer* layer) noexcept { *static_cast<std::string*>(to) = cleanText(layer->detail, 100); }, 0};
  const auto create = [&](uint64_t next) {
    raw.next_field = next;
    PluginCall call(plugin->host(), options, "backend", "zone_create");
    rauha_zone_handle handle{};
    handle.struct_size = sizeof handle;
    handle.agent_fd_take = -1;
    const rauha_status status = table->zone_create(plugin->instance(), call.raw(), &raw, &sink, &handle);
    const UniqueFd agent(handle.agent_fd_take);
    call.finish(status);
    return handle;
  };
  const rauha_zone_handle handle = create(0);
  EXPECT_EQ(RAUHA_HAS(&handle, next_field), newPlugin());
  EXPECT_EQ(handle.next_field, newPlugin() ? 7u : 0u);
  EXPECT_EQ(textOf([&] { create(5); }), newPlugin() ? "no error" : "unsupported: the caller uses bytes that this plugin does not know");
  EXPECT_EQ(detail, newPlugin() ? "box next 5" : "box next 0");
}

TEST_P(Pairing, AFunctionThatTheOldPluginDoesNotHaveIsSeenToBeMissing) {
  const auto plugin = load("backend");
  const auto* table = static_cast<const rauha_backend_v1*>(plugin->table(RAUHA_BACKEND_V1));
  ASSERT_EQ(RAUHA_HAS(table, next_function), newPlugin());
  if (newPlugin()) {
    EXPECT_EQ(table->next_function(nullptr), 1234);
  }
  const auto copy = readTable<rauha_backend_v1>(table, offsetof(rauha_backend_v1, next_function), "table");
  EXPECT_EQ(copy.next_function != nullptr, newPlugin());
}
#endif

INSTANTIATE_TEST_SUITE_P(Plugins, Pairing, testing::Bool(), [](const auto& plugin) { return plugin.param ? "New" : "Old"; });

}  // namespace
}  // namespace rauha::plugin
