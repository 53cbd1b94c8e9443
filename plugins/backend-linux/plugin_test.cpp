// The plugin through its exported entry alone, as the host sees it: statuses, texts, and what a foreign caller may get wrong.
#include <gtest/gtest.h>

#include <optional>

#include "plugins/backend-linux/test_host.h"

namespace rauha::backend {
namespace {

struct PluginTest : ::testing::Test {
  PluginTest() : host("rauha-test-plugin-" + std::to_string(::getpid())) {}
  ~PluginTest() override {
    if (instance != nullptr) plugin->destroy(instance);
  }
  rauha_call* call() { return host.fresh().raw(); }
  const rauha_backend_v1* table(std::string_view config = "") {
    if (plugin->create(host.fake.table(), call(), sdk::str(config), &instance) != RAUHA_OK) return nullptr;
    return static_cast<const rauha_backend_v1*>(plugin->get_interface(instance, RAUHA_BACKEND_V1));
  }
  std::string lastError() { return std::to_string(host.last().status()) + " " + host.last().text(); }

  TestHost host;
  const rauha_plugin* plugin = rauha_plugin_entry_v1();
  rauha_instance* instance = nullptr;
};

TEST_F(PluginTest, SaysWhatItIs) {
  EXPECT_STREQ(plugin->name, "backend-linux");
  EXPECT_STREQ(plugin->provides[0], RAUHA_BACKEND_V1);
  EXPECT_EQ(plugin->provides[1], nullptr);
  ASSERT_NE(table(), nullptr) << lastError();
  EXPECT_EQ(plugin->get_interface(instance, "rauha.backend/2"), nullptr);
  EXPECT_EQ(plugin->get_interface(instance, "rauha.image/1"), nullptr);
}

TEST_F(PluginTest, ABadConfigurationIsRefusedByName) {
  EXPECT_EQ(table("cgroup_parents = \"x\""), nullptr);
  EXPECT_EQ(lastError().substr(0, 2), "1 ");
  EXPECT_NE(lastError().find("cgroup_parents"), std::string::npos);
}

TEST_F(PluginTest, ErrorsKeepTheirStatus) {
  const auto* backend = table();
  ASSERT_NE(backend, nullptr) << lastError();
  testing::LayerCapture layers;
  rauha_zone_handle handle{};
  handle.struct_size = sizeof handle;
  SpecBuilder spec;
  spec.network = RAUHA_NETWORK_BRIDGED;
  rauha_zone_spec c = spec.spec();
  EXPECT_EQ(backend->zone_create(instance, call(), &c, layers.raw(), &handle), RAUHA_E_UNSUPPORTED);
  EXPECT_NE(lastError().find("network plugin"), std::string::npos);
  spec.network = RAUHA_NETWORK_ISOLATED;
  spec.id = "../x";
  c = spec.spec();
  EXPECT_EQ(backend->zone_create(instance, call(), &c, layers.raw(), &handle), RAUHA_E_INVALID);
  EXPECT_EQ(backend->zone_destroy(instance, call(), sdk::str("a/b")), RAUHA_E_INVALID);
  EXPECT_EQ(backend->zone_check(instance, call(), sdk::str("zone_none")), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(backend->zone_connect(instance, call(), sdk::str("zone_none"), &handle), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(handle.agent_fd_take, 0) << "an out-parameter was touched by a failing call";
}

TEST_F(PluginTest, ASpecFromTheFutureIsRefusedUnlessItsTailIsEmpty) {
  const auto* backend = table();
  ASSERT_NE(backend, nullptr) << lastError();
  struct Future {
    rauha_zone_spec known;
    uint64_t more;
  } future{};
  SpecBuilder spec;
  spec.id = "BAD";
  future.known = spec.spec();
  future.known.struct_size = sizeof future;
  testing::LayerCapture layers;
  rauha_zone_handle handle{};
  handle.struct_size = sizeof handle;
  EXPECT_EQ(backend->zone_create(instance, call(), &future.known, layers.raw(), &handle), RAUHA_E_INVALID);  // got as far as the id
  future.more = 1;
  EXPECT_EQ(backend->zone_create(instance, call(), &future.known, layers.raw(), &handle), RAUHA_E_UNSUPPORTED);
}

}  // namespace
}  // namespace rauha::backend
