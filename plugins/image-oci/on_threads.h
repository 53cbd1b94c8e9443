#pragma once
// The same work for 0 … count-1 on a few threads, the caller's among them. The first error stops the others (their Watch throws
// `cancelled`) and is thrown when all have ended.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "plugins/image-oci/watch.h"

namespace rauha::oci {

// failed: called once, after the first error, on whichever thread had it; must not throw.
void onThreads(size_t count, uint32_t threads, const Watch& watch, const std::function<void(size_t, const Watch&)>& work,
               const std::function<void()>& failed);

}  // namespace rauha::oci
