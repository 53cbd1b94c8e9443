#pragma once
// One plugin with its instance: made by create(), ended by destroy(). The adapters share it.
//
// Thread: construction, destruction and calls on a worker (or before the event loop begins).

#include <memory>
#include <string>

#include "core/plugin/host_services.h"
#include "core/plugin/loader.h"

namespace rauha::plugin {

class LoadedPlugin final {
 public:
  // Makes the plugin's state directory and the instance. Throws Error of class "plugin" with the plugin's text.
  LoadedPlugin(OpenedPlugin opened, const PluginConfig& config, const std::string& toml, HostCallbacks callbacks);
  ~LoadedPlugin();
  LoadedPlugin(const LoadedPlugin&) = delete;
  LoadedPlugin& operator=(const LoadedPlugin&) = delete;

  const OpenedPlugin& opened() const noexcept { return opened_; }
  const std::string& name() const noexcept { return opened_.note.name; }
  HostServices& host() noexcept { return host_; }
  rauha_instance* instance() noexcept { return instance_; }
  // The table of an interface; throws when there is none.
  const void* table(const char* id);

 private:
  const OpenedPlugin opened_;
  HostServices host_;
  rauha_instance* instance_ = nullptr;  // the plugin's; given back to destroy()
};

}  // namespace rauha::plugin
