#pragma once
// The C++ interfaces over a plugin's C tables: the only code of core that sees them, one file per kind.

#include <memory>

#include "core/plugin/backend.h"
#include "core/plugin/enforcer.h"
#include "core/plugin/image_source.h"
#include "core/plugin/loaded_plugin.h"

namespace rauha::plugin {

// Throw Error of class "plugin" when the table is missing, too small, or lacks a function.
std::unique_ptr<Backend> adaptBackend(std::shared_ptr<PluginInstance> plugin);
std::unique_ptr<ImageSource> adaptImages(std::shared_ptr<PluginInstance> plugin);
std::unique_ptr<Enforcer> adaptEnforcer(std::shared_ptr<PluginInstance> plugin);

}  // namespace rauha::plugin
