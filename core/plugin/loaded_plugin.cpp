#include "core/plugin/loaded_plugin.h"

#include <sys/stat.h>

#include <cerrno>

#include "core/plugin/c_struct.h"

namespace rauha::plugin {
namespace {

void makeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throwErrno("plugin", "make directory " + path);
}

}  // namespace

void makePluginDirectory(const std::string& stateDir, const std::string& name) {
  makeDirectory(stateDir + "/plugins");
  makeDirectory(stateDir + "/plugins/" + name);
}

LoadedPlugin::LoadedPlugin(OpenedPlugin opened, const PluginConfig& config, const std::string& toml, HostCallbacks callbacks)
    : opened_(std::move(opened)), host_(opened_.note.name, config, std::move(callbacks)) {
  makePluginDirectory(config.stateDir, opened_.note.name);
  const CallOptions options;
  PluginCall call(host_, options, "plugin", "create");
  rauha_instance* made = nullptr;
  call.finish(opened_.create(host_.table(), call.raw(), toStr(toml), &made));
  if (made == nullptr)
    throw Error("plugin", Code::internal, name() + ": create returned OK without an instance", "report this to the plugin's author");
  instance_ = made;
}

LoadedPlugin::~LoadedPlugin() {
  if (instance_ != nullptr) opened_.destroy(instance_);
}

const void* LoadedPlugin::table(const char* id) {
  const void* table = opened_.getInterface(instance_, id);
  if (table == nullptr)
    throw Error("plugin", Code::invalid, std::string("provides ") + id + " by its descriptor, but get_interface returned null",
                "report this to the plugin's author");
  return table;
}

}  // namespace rauha::plugin
