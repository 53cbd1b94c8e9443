#pragma once
// The tar file of a root file system (plain, gzip or zstd) as an image of one layer. The layer's blob is the file as it is. The documents
// are made here, always with the same bytes for the same file, so that the image is named by what it holds. One thread.

#include <memory>
#include <string>

#include "plugins/image-oci/layer_store.h"
#include "plugins/image-oci/reference.h"
#include "plugins/image-oci/source.h"

namespace rauha::oci {

struct TarFile {
  OpenFile file;
  std::string compression;  // as it ends a layer's media type: "", "+gzip", "+zstd"
};
// fileFd: borrowed, a regular file. Throws invalid (a directory, no tar), corrupt (empty, or a plain tar without its end).
TarFile openTar(int fileFd, const std::string& what);

// Its layer() is never asked: the layer is placed before.
std::unique_ptr<Source> tarSource(const PreparedLayer& layer, const std::string& compression, const Reference& reference);

}  // namespace rauha::oci
