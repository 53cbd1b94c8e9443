#pragma once
// Work on images that a client asked for and that may take long: a pull, an export, a verify. It runs on an image worker, reports, and ends
// when the client lets go of its capability. Thread: the event loop.

#include <schemas/client.capnp.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/plugin/image_source.h"
#include "core/rpc/rauha_service.h"

namespace rauha::rpc {

// All begin at once. done: called when it succeeded, before the client hears of it. `services` outlives the capability.
schema::ImagePull::Client startImagePull(Services& services, plugin::ImageRequest request,
                                         kj::Maybe<schema::ImageProgress::Client> progress,
                                         std::function<void(const plugin::ResolvedImage&)> done);
schema::ImagePull::Client startImageExport(Services& services, plugin::ImageRequest request, UniqueFd target,
                                           kj::Maybe<schema::ImageProgress::Client> progress);
// requests: one for each image; one without a reference: everything.
schema::ImageVerify::Client startImageVerify(Services& services, std::vector<plugin::ImageRequest> requests,
                                             kj::Maybe<schema::ImageProgress::Client> progress);

}  // namespace rauha::rpc
