#pragma once
// What each layer of a zone is worth, as values, and the way of values into the host's C sinks. Pure apart from asking the kernel its
// Landlock version.

#include <rauha/plugin.hpp>

#include <string>
#include <vector>

#include "plugins/backend-linux/zone_spec.h"
#include "plugins/linux-common/layer.h"

namespace rauha::backend {

Layer userNamespaceLayer(const ZoneSpec& spec, uint32_t hostIdBase);
Layer seccompLayer(const ZoneSpec& spec, size_t instructions);
Layer networkLayer(const ZoneSpec& spec);
// landlock, capabilities and enforcer: not the backend's to arm, but whether they can be is known before the zone is made.
std::vector<Layer> processLayers(const ZoneSpec& spec);
// abi: 0 is none.
Layer landlockLayer(int abi);
// The minimal /dev, terminals, and what the policy grants. For zones whose root is the host's.
std::vector<cgroup::DeviceRule> deviceRules(const ZoneSpec& spec);

void push(const rauha_layer_sink& sink, const Layer& layer);
void push(const rauha_finding_sink& sink, const std::string& zoneId, const std::string& object, const std::string& action);

}  // namespace rauha::backend
