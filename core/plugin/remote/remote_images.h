#pragma once
// The table "rauha.image/1" of a plugin in a process of its own: each function asks the process and pushes its answer into the caller's
// sink, so that the adapter (image_adapter.cpp) holds it to everything that it holds a plugin in the daemon to.

#include <rauha/image.h>

namespace rauha::plugin {

// Its instance is a RemotePlugin (RemotePlugin::instance()).
const rauha_image_v1* remoteImagesTable() noexcept;

}  // namespace rauha::plugin
