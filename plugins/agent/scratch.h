#pragma once
// A file system of fixed size for what a zone writes to its root: a sparse file with ext4 (no journal: it never outlives the zone) on a
// loop device. The file has no name once the device holds it, and the device clears itself when its last mount is gone, so nothing has to
// be removed after a crash.

#include <cstdint>
#include <string>

#include "core/base/fd.h"

namespace rauha::agent {

struct DiskScratch {
  std::string device;  // "/dev/loop3"
  UniqueFd loop;       // close it after mounting
};

// Blocks for the time of mkfs.ext4 (tens of milliseconds). Errors: class "zone", unsupported when loop devices or mkfs.ext4 are missing.
DiskScratch makeDiskScratch(const std::string& directory, uint64_t bytes);

}  // namespace rauha::agent
