#pragma once
// Confines this process before it touches the plugin's file. Every layer is armed in full or the process refuses to go on: Error of class
// "plugin" that names the layer.
//
//   namespaces  pid (made by the daemon's clone), mount, ipc, uts, cgroup, and network unless the setup gives it
//   root        a file system in memory with the host's files that may be read (read-only), the plugin's own directory, private /tmp and
//               runtime directory, a /proc of its own pid namespace; nothing else of the host exists in it (private_root.h)
//   privileges  no_new_privs; a bounding set and capabilities of the setup's list; securebits locked
//   landlock    writing only in those three places, executing nowhere; connecting and binding nowhere without the network
//   limits      descriptors, core files, data
//   seccomp     an allow-list: no execve, no new processes, no mounts, no namespaces, no ptrace, no keys, no kernel interfaces
//
// Thread: the only one. The order is the one in which main() calls them.

#include <schemas/plugin_host.capnp.h>

#include <string>
#include <vector>

namespace rauha::plugin_host {

// In the first process of the pid namespace: namespaces and root. Lines for PluginHost.confinement are appended to `layers`.
void enterPrivateWorld(schema::HostSetup::Reader setup, std::vector<std::string>& layers);
// In the process that will run the plugin: everything else.
void dropRights(schema::HostSetup::Reader setup, std::vector<std::string>& layers);
// In the first process, once it has forked: it needs nothing any more.
void dropEverything();

}  // namespace rauha::plugin_host
