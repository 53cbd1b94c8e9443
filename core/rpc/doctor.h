#pragma once
// What this machine can enforce, from the backend's probe: one check a layer, and why and what to do where it is not full.

#include <schemas/client.capnp.h>

#include <vector>

#include "core/plugin/backend.h"
#include "core/plugin/registry.h"

namespace rauha::rpc {
void writeDoctor(schema::DoctorReport::Builder out, const std::vector<plugin::Layer>& layers,
                 const std::vector<plugin::PluginRecord>& plugins, const plugin::Layer& enforcer);
}  // namespace rauha::rpc
