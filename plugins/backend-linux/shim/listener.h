#pragma once
// Who may talk to the shim: the client whose socket it was born with, and, for zones that outlive their client, whoever connects to its
// socket with the shim's own uid or root's. KJ, event loop's thread.

#include <kj/async-io.h>

#include <string>

#include "plugins/agent/agent_server.h"

namespace rauha::shim {

// Serves the socket that descriptor 4 is; resolves when the client is gone.
kj::Promise<void> serveFirst(kj::AsyncIoContext& io, int fd, schema::Agent::Client agent);

// Listens at path (mode 0600, replaced if it exists) and serves for ever. Throws when it cannot be bound.
kj::Promise<void> serveListener(kj::AsyncIoContext& io, const std::string& path, schema::Agent::Client agent);

}  // namespace rauha::shim
