#pragma once
// A small, honest image in each of the forms that image plugins usually take: made on the spot, so that the kit needs no network and no
// files of its own.

#include <string>

namespace rauha::conformance {

// Each makes what stands behind a placeholder of Options::references. `path` must not exist. Throws std::runtime_error.
void makeSampleDirectory(const std::string& path);      // @dir: a root file system
void makeSampleOci(const std::string& path);            // @oci: an OCI layout, two layers, tag "latest"
void makeSampleOciArchive(const std::string& path);     // @oci-archive: the same in a tar file
void makeSampleDockerArchive(const std::string& path);  // @docker-archive: as of `docker save`, name "sample:latest"

std::string sha256Hex(const std::string& data);

}  // namespace rauha::conformance
