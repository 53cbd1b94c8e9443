#pragma once
// A Registry over copies of the test plugins in a directory of its own.

#include <sys/stat.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "core/plugin/registry.h"
#include "core/plugin/test_directory.h"

namespace rauha::plugin {

class LoadedRegistry {
 public:
  LoadedRegistry() {
    std::filesystem::create_directories(directory() + "/state");
    config.directories = {directory()};
    config.instance = "rauha-test";
    config.stateDir = directory() + "/state";
    config.runtimeDir = directory() + "/run";
    config.libexecDir = "/nowhere";
  }
  const std::string& directory() const { return directory_.path(); }

  // Copies a plugin that the build made, under another name if wanted; gives its path.
  std::string install(const std::string& name, const std::string& as = {}, mode_t mode = 0755) {
    const std::string to = directory() + "/" + (as.empty() ? name : as) + ".so";
    std::filesystem::copy_file(std::string(RAUHA_TEST_PLUGINS) + "/" + name + ".so", to);
    chmod(to.c_str(), mode);
    return to;
  }
  void enable(const std::string& name, const std::string& toml = {}) { config.enabled.push_back({name, toml, {}, {}}); }
  Registry& load() {
    HostCallbacks callbacks;
    callbacks.event = [this](PluginEvent&& e) {
      std::lock_guard lock(mutex);
      events.push_back(std::move(e));
      return true;
    };
    callbacks.log = [this](LogLevel, std::string_view plugin, std::string_view text) {
      std::lock_guard lock(mutex);
      logs.push_back(std::string(plugin) + ": " + std::string(text));
    };
    callbacks.state = state;
    registry = Registry::load(config, std::move(callbacks));
    return *registry;
  }
  // Of a plugin that is enabled alone.
  PluginRecord recordOf(const std::string& name) {
    enable(name);
    return load().records().front();
  }

  PluginConfig config;
  StateKeeper* state = nullptr;
  std::vector<PluginEvent> events;
  std::vector<std::string> logs;
  mutable std::mutex mutex;  // of the two

 private:
  TestDirectory directory_;

 public:
  std::unique_ptr<Registry> registry;  // before the directory goes
};

}  // namespace rauha::plugin
