#include "core/rpc/doctor.h"

#include <sys/utsname.h>

#include <string>

namespace rauha::rpc {
namespace {

void write(schema::Check::Builder out, const plugin::Layer& layer) {
  out.setName(layer.name);
  out.setStatus(layer.state == plugin::LayerState::full      ? schema::CheckStatus::OK
                : layer.state == plugin::LayerState::partial ? schema::CheckStatus::WEAKER
                                                             : schema::CheckStatus::MISSING);
  out.setDetail(layer.detail);
  if (!layer.reason.empty()) out.setReason(layer.reason);
  if (!layer.remedy.empty()) out.setRemedy(layer.remedy);
}

// Plugins that were meant to be loaded and are not, and those that are loaded from unsafe places.
std::vector<plugin::Layer> pluginChecks(const std::vector<plugin::PluginRecord>& plugins) {
  std::vector<plugin::Layer> out;
  for (const auto& record : plugins) {
    const std::string name = "plugin " + record.name;
    if (record.loaded && record.weaknesses.empty())
      out.push_back({name, plugin::LayerState::full, record.version + ", ABI " + record.abi, "", ""});
    if (record.loaded && !record.weaknesses.empty())
      out.push_back({name, plugin::LayerState::partial, record.path, record.weaknesses[0],
                     "install the plugin below a directory that only root can write to"});
  }
  return out;
}

}  // namespace

void writeDoctor(schema::DoctorReport::Builder out, const std::vector<plugin::Layer>& layers,
                 const std::vector<plugin::PluginRecord>& plugins, const plugin::Layer& enforcer) {
  utsname name{};
  if (uname(&name) == 0) out.setKernel(name.release);
  auto all = layers;
  for (auto& layer : all)
    if (layer.name == "enforcer") {
      layer = enforcer;  // the backend does not know
      // Nothing is wrong with the machine: `missing` is for what it should have.
      if (layer.state == plugin::LayerState::missing) layer.state = plugin::LayerState::partial;
    }
  for (auto& check : pluginChecks(plugins)) all.push_back(std::move(check));
  std::string layout = "v2";
  for (const auto& layer : layers)
    if (layer.name.rfind("cgroup_", 0) == 0 && layer.detail.find("hybrid") != std::string::npos) layout = "hybrid";
  out.setCgroupLayout(layout);
  auto checks = out.initChecks(static_cast<unsigned>(all.size()));
  for (unsigned i = 0; i < checks.size(); ++i) write(checks[i], all[i]);
}

}  // namespace rauha::rpc
