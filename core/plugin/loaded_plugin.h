#pragma once
// A plugin that can be called, wherever its code runs; and the one that runs in the daemon: made by create(), ended by destroy(). The
// adapters share it. The other one is RemotePlugin (remote/remote_plugin.h).
//
// Thread: construction, destruction and calls on a worker (or before the event loop begins).

#include <memory>
#include <string>

#include "core/plugin/host_services.h"
#include "core/plugin/loader.h"

namespace rauha::plugin {

class PluginInstance {
 public:
  virtual ~PluginInstance() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual HostServices& host() noexcept = 0;
  virtual rauha_instance* instance() noexcept = 0;
  // The table of an interface; throws when there is none.
  virtual const void* table(const char* id) = 0;
  // Fills in what changes while the plugin is used.
  virtual void describe(PluginRecord& record) const = 0;
};

// <stateDir>/plugins/<name>, mode 0700. Throws Error "plugin".
void makePluginDirectory(const std::string& stateDir, const std::string& name);

class LoadedPlugin final : public PluginInstance {
 public:
  // Makes the plugin's state directory and the instance. Throws Error of class "plugin" with the plugin's text. create and destroy run on
  // threads of their own, so that one that hangs is left behind and not waited for.
  LoadedPlugin(OpenedPlugin opened, const PluginConfig& config, const std::string& toml, HostCallbacks callbacks);
  ~LoadedPlugin() override;
  LoadedPlugin(const LoadedPlugin&) = delete;
  LoadedPlugin& operator=(const LoadedPlugin&) = delete;

  const OpenedPlugin& opened() const noexcept { return opened_; }
  const std::string& name() const noexcept override { return opened_.note.name; }
  HostServices& host() noexcept override { return *host_; }
  rauha_instance* instance() noexcept override { return instance_; }
  const void* table(const char* id) override;
  void describe(PluginRecord&) const override {}

 private:
  const OpenedPlugin opened_;
  const std::shared_ptr<HostServices> host_;  // shared with a create or destroy that hangs
  rauha_instance* instance_ = nullptr;        // the plugin's; given back to destroy()
};

}  // namespace rauha::plugin
