#pragma once
// Plugins' state per zone, in the store. Owner: the daemon; outlives the plugins. Thread: any.

#include "core/plugin/state_keeper.h"
#include "core/store/store.h"

namespace rauha {

class PluginState final : public plugin::StateKeeper {
 public:
  explicit PluginState(store::Store& store) : store_(store) {}
  void put(std::string_view plugin, std::string_view zoneId, std::string_view bytes) override {
    store_.putPluginState(plugin, zoneId, bytes);
  }
  std::optional<std::string> get(std::string_view plugin, std::string_view zoneId) override { return store_.pluginState(plugin, zoneId); }
  void erase(std::string_view plugin, std::string_view zoneId) override { store_.erasePluginState(plugin, zoneId); }

 private:
  store::Store& store_;
};

}  // namespace rauha
