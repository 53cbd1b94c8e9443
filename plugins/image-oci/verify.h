#pragma once
// Reads again what the store has: records and documents against each other, documents and layers' blobs against their digests, and each
// unpacked layer against its blob, by unpacking that once more beside it and comparing the two trees. Changes nothing. What cannot be
// checked is said to be so: a layer whose blob was not kept has nothing that it could be compared with.
// Owner: ImageLibrary. Thread: [any], which it blocks.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/image_store.h"
#include "plugins/image-oci/layer_store.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

struct Check {
  enum class State { good, damaged, missing, unknown };
  State state = State::good;
  std::string kind;    // "record", "manifest", "configuration", "blob", "layer"
  std::string digest;  // empty: of a record
  std::string path;
  std::string text, remedy;  // of what is not good
  uint64_t bytes = 0;
  std::vector<std::string> images;
};

class StoreVerifier final {
 public:
  StoreVerifier(const StoreRoot& root, const BlobStore& blobs, const LayerStore& layers, const ImageStore& images, uint32_t threads)
      : root_(root), blobs_(blobs), layers_(layers), images_(images), threads_(threads) {}
  // records: of the images to look at; every: of all images, since what they share they lose together; all: look at everything else too.
  // A blob that only another image has of a shared layer is looked at where none of the asked images' own was kept.
  std::vector<Check> run(const std::vector<ImageRecord>& records, const std::vector<ImageRecord>& every, bool all,
                         const Watch& watch) const;

 private:
  struct Subject;
  void checkDocument(const Subject& subject, std::vector<Check>& out) const;
  void checkLayer(const Subject& subject, std::vector<Check>& out, const Watch& watch) const;
  bool checkBlob(const Descriptor& blob, const std::vector<ImageRecord>& records, std::vector<Check>& out, const Watch& watch) const;
  void compare(const Subject& subject, const Descriptor& blob, Check& check, const Watch& watch) const;
  void checkRecord(const ImageRecord& record, std::vector<Check>& out) const;
  static std::vector<Subject> subjectsOf(const std::vector<ImageRecord>& records, const std::vector<ImageRecord>& every);
  void addStrays(std::vector<Subject>& subjects) const;

  const StoreRoot& root_;
  const BlobStore& blobs_;
  const LayerStore& layers_;
  const ImageStore& images_;
  const uint32_t threads_;
};

// Commands that make the images whole again.
std::string remedyFor(const std::vector<ImageRecord>& records);

}  // namespace rauha::oci
