#pragma once
// The root file system of a plugin's process: made of detached copies of mounts, in a mount namespace of its own, by descriptors.
//
// Read-only in its mounts and not only by rights, because the process keeps capabilities over files: what Landlock does not handle (modes,
// owners, extended attributes, times) must not be possible outside the plugin's own directory either. Devices do not work in any place that
// the plugin can write to.

#include <schemas/plugin_host.capnp.h>

namespace rauha::plugin_host {

// Needs a fresh mount namespace. On return "/" is the private root. Throws Error "plugin".
void enterPrivateRoot(schema::HostSetup::Reader setup);

}  // namespace rauha::plugin_host
