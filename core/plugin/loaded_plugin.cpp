#include "core/plugin/loaded_plugin.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <future>
#include <system_error>
#include <thread>

#include "core/base/clock.h"
#include "core/plugin/c_struct.h"

namespace rauha::plugin {
namespace {

void makeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throwErrno("plugin", "make directory " + path);
}

// Runs f on a thread of its own. False: it has not returned in time, and is left alone; what it captured lives as long as it runs.
template <typename F>
bool returnsWithin(int64_t ns, F f) {
  auto done = std::make_shared<std::promise<void>>();
  auto returned = done->get_future();
  std::thread([done, f = std::move(f)]() mutable {
    f();
    done->set_value();
  }).detach();
  return returned.wait_for(std::chrono::nanoseconds(ns)) == std::future_status::ready;
}

struct Made {
  rauha_instance* instance = nullptr;
  std::exception_ptr failure;
};

rauha_instance* makeInstance(const std::shared_ptr<HostServices>& host, decltype(rauha_plugin::create) create, const std::string& toml) {
  const CallLimits& limits = host->calls().limits();
  auto made = std::make_shared<Made>();
  const bool returned = returnsWithin(limits.createNs + limits.abandonNs, [host, create, toml, made] {
    try {
      CallOptions options;
      options.deadlineNs = monotonicNs() + host->calls().limits().createNs;
      PluginCall call(*host, options, "plugin", "create");
      rauha_instance* instance = nullptr;
      call.finish(call.run(create, host->table(), call.raw(), toStr(toml), &instance));
      made->instance = instance;
    } catch (...) {
      made->failure = std::current_exception();
    }
  });
  if (!returned)
    throw Error("plugin", Code::deadline,
                host->plugin() + ": create did not return " + std::to_string(limits.abandonNs / 1'000'000) + " ms after its deadline",
                "report this to the plugin's author");
  if (made->failure) std::rethrow_exception(made->failure);
  if (made->instance == nullptr)
    throw Error("plugin", Code::internal, host->plugin() + ": create returned OK without an instance",
                "report this to the plugin's author");
  return made->instance;
}

}  // namespace

void makePluginDirectory(const std::string& stateDir, const std::string& name) {
  makeDirectory(stateDir + "/plugins");
  makeDirectory(stateDir + "/plugins/" + name);
}

LoadedPlugin::LoadedPlugin(OpenedPlugin opened, const PluginConfig& config, const std::string& toml, HostCallbacks callbacks)
    : opened_(std::move(opened)), host_(std::make_shared<HostServices>(opened_.note.name, config, std::move(callbacks))) {
  makePluginDirectory(config.stateDir, opened_.note.name);
  instance_ = makeInstance(host_, opened_.create, toml);
}

LoadedPlugin::~LoadedPlugin() {
  try {
    const int64_t patience = host_->calls().limits().abandonNs;
    const bool returned = returnsWithin(patience, [host = host_, destroy = opened_.destroy, instance = instance_] { destroy(instance); });
    if (!returned)
      host_->log(LogLevel::error, "destroy did not return " + std::to_string(patience / 1'000'000) + " ms after it was called");
  } catch (const std::system_error&) {
    opened_.destroy(instance_);  // no thread can be made
  }
}

const void* LoadedPlugin::table(const char* id) {
  const void* table = opened_.getInterface(instance_, id);
  if (table == nullptr)
    throw Error("plugin", Code::invalid, std::string("provides ") + id + " by its descriptor, but get_interface returned null",
                "report this to the plugin's author");
  return table;
}

}  // namespace rauha::plugin
