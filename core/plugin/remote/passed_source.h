#pragma once
// What a client gave as an image's source, and the plugin's own file, made safe to hand to a plugin's process.
//
// A directory's descriptor leads everywhere: ".." climbs from it to the root of the mount namespace it was opened in, past the process's
// own root, and with capabilities over files its owners and modes could be changed. So the process gets the same directory or file on a
// detached mount of its own: read-only, without set-user-id bits and devices, and with nothing above it.

#include "core/base/fd.h"

namespace rauha::plugin {

struct PassedSource {
  UniqueFd fd;     // to hand over
  UniqueFd mount;  // to keep while the receiver uses fd: with it go the mounts below
};

// fd: borrowed, a directory, a regular file, or a pipe or socket (passed on as it is: there is no path to it). Throws Error "image"
// unsupported when the kernel does not make such a mount (the descriptor is from another mount namespace).
PassedSource passableSource(int fd);

// The same for the plugin's own file, which must be mapped as code: otherwise it could make itself a program of root's that anybody starts.
// Throws Error "plugin".
UniqueFd passablePlugin(int fd);

}  // namespace rauha::plugin
