#pragma once
// Where an image comes from: an OCI layout, its tar file, a docker archive, a registry. A source finds the manifest and gives out
// blobs; it verifies nothing but what it reads itself to find the manifest. Everything that takes part in a digest is checked by the
// library. Resources, made for one call, used by one thread.

#include <memory>
#include <optional>
#include <string>

#include "plugins/image-oci/files.h"
#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/reference.h"

namespace rauha::oci {

class Source {
 public:
  virtual ~Source() = default;
  // The manifest for this machine. Throws notFound (no such tag, no such platform), invalid.
  virtual Descriptor find() = 0;
  // A small document of the image, verified; throws notFound when the source lacks it, corrupt.
  virtual std::string document(const Descriptor& descriptor, const std::string& role) = 0;
  // The layer's bytes as the source has them.
  virtual OpenFile layer(const Descriptor& descriptor) = 0;
  // False: the source declares no digests for what it stores (docker archives); only the diff_id can be checked.
  virtual bool declaresDigests() const noexcept = 0;
  // On how many threads layer() and the streams that it gave may be used at once.
  virtual uint32_t parallel() const noexcept { return 1; }
  // A layer failed: streams that are still read on other threads may end with an error. [any]
  virtual void abandon() noexcept {}
  // The layer is in the store (good), or its bytes do not verify. True: they were partly what an earlier call had kept, so that one more
  // attempt may find others. [any]
  virtual bool settled(const Descriptor&, bool good) { return static_cast<void>(good), false; }
};

// OCI image layout (image-spec, image-layout.md) over a directory's or an archive's files.
std::unique_ptr<Source> ociSource(std::unique_ptr<Files> files, const Reference& reference);
// `docker save`: manifest.json names a configuration and layer files.
std::unique_ptr<Source> dockerArchiveSource(std::unique_ptr<Files> files, const Reference& reference);

}  // namespace rauha::oci
