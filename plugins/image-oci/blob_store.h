#pragma once
// Content-addressed files: what is there under a digest has that digest. A blob is written beside, verified, made durable, then renamed.
// Documents (manifest, configuration) come through put; a layer's blob is verified while it is unpacked (kept_blob.h).
// Owner: ImageLibrary. Thread: [any].

#include <optional>
#include <string>
#include <vector>

#include "plugins/image-oci/files.h"
#include "plugins/image-oci/store_root.h"
#include "plugins/image-oci/stream.h"

namespace rauha::oci {

class BlobStore final {
 public:
  explicit BlobStore(const StoreRoot& root) : root_(root) {}
  // The content, at most kJsonMax bytes; nullopt: not there. It was verified when it came; it is not hashed again.
  std::optional<std::string> read(const std::string& digest) const;
  bool has(const std::string& digest) const;
  // To be read and verified; nullopt: not there.
  std::optional<OpenFile> open(const std::string& digest) const;
  std::string pathOf(const std::string& digest) const { return root_.path() + "/blobs/sha256/" + hexOf(digest); }
  // Verifies digest and size, then makes it visible. Throws corrupt when they differ, limit when the disk is full; nothing is left then.
  // There already: the stream is not read.
  void put(const std::string& digest, uint64_t size, ByteStream& content, const std::string& what) const;
  void putText(const std::string& digest, std::string content, const std::string& what) const;
  std::vector<std::string> digests() const;
  void remove(const std::string& digest) const;

 private:
  const StoreRoot& root_;
};

// Throws corrupt: "<what> has digest X, but Y was expected".
void checkDigest(const std::string& what, const std::string& wanted, const std::string& found);
void checkSize(const std::string& what, uint64_t wanted, uint64_t found);

}  // namespace rauha::oci
