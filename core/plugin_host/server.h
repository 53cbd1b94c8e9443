#pragma once
// The plugin's process as the daemon sees it: schema::PluginHost over the same loader, adapter and limits that a plugin in the daemon has.
//
// Plugin calls run on workers; the event loop only takes and answers messages. Returns when the daemon's end of the socket is gone.

#include <schemas/plugin_host.capnp.h>

#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::plugin_host {

// layers: for PluginHost.confinement. socket, file: taken over.
void serve(schema::HostSetup::Reader setup, std::vector<std::string> layers, UniqueFd socket, UniqueFd file);

}  // namespace rauha::plugin_host
