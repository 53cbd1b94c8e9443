#pragma once
// A pull that a client asked for: runs on an image worker, reports, ends when the client lets go. Thread: the event loop.

#include <schemas/client.capnp.h>

#include <functional>

#include "core/plugin/image_source.h"
#include "core/rpc/rauha_service.h"

namespace rauha::rpc {

// Begins at once. done: called when it succeeded, before the client hears of it. `services` outlives the capability.
schema::ImagePull::Client startImagePull(Services& services, plugin::ImageRequest request,
                                         kj::Maybe<schema::ImageProgress::Client> progress,
                                         std::function<void(const plugin::ResolvedImage&)> done);

}  // namespace rauha::rpc
