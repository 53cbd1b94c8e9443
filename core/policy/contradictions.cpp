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
  const auto resources = policy.getResources();
  const auto refuse = [&](std::string_view layer, bool contradicted, const std::string& why) {
    if (contradicted && names(policy.getRequire(), layer))
      root.problem("require", "names '" + std::string(layer) + "', but " + why, "change one of the two");
  };
  refuse("user_namespace", policy.getUserNamespace() == schema::UserNamespace::HOST, "user_namespace is \"host\"");
  refuse("network", policy.getNetwork().getMode() == schema::NetworkMode::HOST, "network.mode is \"host\"");
  refuse("cgroup_cpu", resources.getCpuMillis() == 0, "resources.cpu is 0 (no limit)");
  refuse("cgroup_memory", resources.getMemoryBytes() == 0, "resources.memory is 0 (no limit)");
  refuse("cgroup_pids", resources.getPids() == 0, "resources.pids is 0 (no limit)");
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

void noteContradictions(Section& root, schema::Policy::Reader policy) {
  notePrivileged(root, policy);
  noteStrict(root, policy);
  noteRequired(root, policy);
  noteNetwork(root, policy);
  notePaths(root);
}

}  // namespace rauha::policy
