#include "core/policy/contradictions.h"

#include <algorithm>
#include <string>

#include "core/policy/defaults.h"
#include "core/policy/policy_reader.h"
#include "core/policy/value_checks.h"

namespace rauha::policy {
namespace {

std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

bool names(capnp::List<capnp::Text>::Reader list, std::string_view name) {
  for (const auto text : list)
    if (view(text) == name) return true;
  return false;
}

constexpr const char* kPrivilegedOnly = "only a policy of type = \"privileged\" may do that";

void notePrivileged(Section& root, schema::Policy::Reader policy) {
  if (policy.getType() == schema::ZoneType::PRIVILEGED) return;
  if (policy.getUserNamespace() == schema::UserNamespace::HOST)
    root.problem("user_namespace", "\"host\" makes zone root host root", kPrivilegedOnly);
  if (policy.getNetwork().getMode() == schema::NetworkMode::HOST) {
    auto network = root.section("network");
    if (network) network->problem("mode", "\"host\" shows the zone the host's network", kPrivilegedOnly);
  }
  auto devices = root.tables("devices");
  for (auto& device : devices) {
    const auto path = device.text("path");
    if (path && isHostDevice(*path)) device.problem("path", "'" + shown(*path) + "' hands out the host's memory or disks", kPrivilegedOnly);
  }
}

void noteStrict(Section& root, schema::Policy::Reader policy) {
  if (policy.getType() != schema::ZoneType::STRICT) return;
  if (auto files = root.section("filesystem"); files && !policy.getFilesystem().getReadOnlyRoot())
    files->problem("read_only_root", "type strict has a read-only root", "remove the line, or choose type = \"task\"");
  for (const auto layer : strictLayers())
    if (!names(policy.getRequire(), layer))
      root.problem("require", "type strict requires '" + std::string(layer) + "'", "add it, remove the line, or choose type = \"task\"");
}

void noteRequired(Section& root, schema::Policy::Reader policy) {
  for (const auto layer : policy.getRequire())
    if (const auto why = switchedOff(policy, view(layer)); !why.empty())
      root.problem("require", "names '" + std::string(view(layer)) + "', but " + std::string(why), "change one of the two");
}

void noteNetwork(Section& root, schema::Policy::Reader policy) {
  if (policy.getNetwork().getMode() == schema::NetworkMode::BRIDGED) return;
  auto network = root.section("network");
  if (!network) return;
  for (const char* key : {"egress", "ingress", "zones"})
    if (network->has(key)) network->problem(key, "needs network.mode = \"bridged\"", "remove it, or write mode = \"bridged\"");
}

void notePaths(Section& root) {
  auto files = root.section("filesystem");
  if (!files) return;
  const auto masked = files->texts("masked");
  const auto readOnly = files->texts("read_only");
  if (!masked || !readOnly) return;
  for (const auto& path : *readOnly)
    if (std::any_of(masked->begin(), masked->end(), [&](const auto& m) { return m.text == path.text; }))
      files->problem("read_only", "'" + shown(path.text) + "' is also in filesystem.masked", "masked hides it altogether: remove it here");
}

}  // namespace

std::string_view switchedOff(schema::Policy::Reader policy, std::string_view layer) noexcept {
  const auto resources = policy.getResources();
  if (layer == "user_namespace" && policy.getUserNamespace() == schema::UserNamespace::HOST) return "user_namespace is \"host\"";
  if (layer == "network" && policy.getNetwork().getMode() == schema::NetworkMode::HOST) return "network.mode is \"host\"";
  if (layer == "cgroup_cpu" && resources.getCpuMillis() == 0) return "resources.cpu is 0 (no limit)";
  if (layer == "cgroup_memory" && resources.getMemoryBytes() == 0) return "resources.memory is 0 (no limit)";
  if (layer == "cgroup_pids" && resources.getPids() == 0) return "resources.pids is 0 (no limit)";
  return {};
}

void noteContradictions(Section& root, schema::Policy::Reader policy) {
  notePrivileged(root, policy);
  noteStrict(root, policy);
  noteRequired(root, policy);
  noteNetwork(root, policy);
  notePaths(root);
}

}  // namespace rauha::policy
