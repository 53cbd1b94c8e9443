#pragma once
// Names of images and leases on them, as small JSON files (images/, leases/), each written whole. Owner: ImageLibrary. Thread: [any];
// functions that change something say which lock the caller holds.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/image-oci/store_root.h"

namespace rauha::oci {

struct LayerRecord {
  std::string digest, diffId, mediaType;
  uint64_t size = 0;  // bytes of the blob
};

// What a name means.
struct ImageRecord {
  std::string name;              // "python:3.12", or the reference as written ("oci:/images/python:3.12")
  std::string reference;         // where it came from, as written
  std::string source;            // "oci", "oci-archive", "docker-archive"
  std::string manifest, config;  // digests
  uint64_t bytes = 0;            // unpacked; a layer that is in the image twice counts once
  int64_t createdNs = 0;
  std::vector<LayerRecord> layers;  // lowest first
};

// What a zone, or a call in progress, keeps from being removed.
struct Lease {
  std::string file;   // its name in leases/
  std::string owner;  // zone id; empty: a call in progress
  std::string name;   // of the image record
  std::string manifest, config;
  std::vector<std::string> diffIds;
  std::vector<std::string> blobs;  // of the layers
};

Lease leaseFor(std::string_view owner, const std::string& name, const std::string& manifest, const std::string& config,
               const std::vector<LayerRecord>& layers);

class ImageStore final {
 public:
  explicit ImageStore(const StoreRoot& root) : root_(root) {}
  std::optional<ImageRecord> find(const std::string& name) const;
  // bad: receives what cannot be read, with its file's name; else that is thrown.
  struct BadRecord {
    std::string file, text;
  };
  std::string pathOf(const std::string& name) const;
  std::vector<ImageRecord> list(std::vector<BadRecord>* bad = nullptr) const;
  void put(const ImageRecord& record) const;   // [store lock]
  void remove(const std::string& name) const;  // [store lock]

  // Writes the lease of `lease.owner` for this image. [store lock]
  void lease(const Lease& lease) const;
  // A lease that lasts as long as the returned descriptor; its file goes with endOperation. [store lock]
  UniqueFd leaseOperation(Lease& lease) const;
  void endLease(const Lease& lease) const noexcept;
  // True when there was one.
  bool release(std::string_view owner) const;
  // Ends the leases of all others, by their files' names: what a loss of power left of one need not be readable. [store lock]
  void endOthers(const std::vector<std::string_view>& living) const;
  // All living ones; files of calls that died are removed on the way. [store lock]
  std::vector<Lease> leases() const;

 private:
  const StoreRoot& root_;
};

// 1 to 64 of [a-z0-9_-]; throws invalid.
void checkLeaseOwner(std::string_view owner);

}  // namespace rauha::oci
