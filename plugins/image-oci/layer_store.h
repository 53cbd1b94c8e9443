#pragma once
// Unpacked layers, each once, shared by all images: layers/<hex of diff_id>/{fs/, layer.json}. A layer is visible when it is whole and
// verified: it is unpacked beside, its two digests (of the blob and of the tar) are checked in the same pass, the file system is synced,
// and then the directory is renamed into place. Owner: ImageLibrary. Thread: [any]; two calls for one layer wait for each other.

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/files.h"
#include "plugins/image-oci/kept_blob.h"
#include "plugins/image-oci/layer_unpack.h"
#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/store_root.h"

namespace rauha::oci {

struct StoredLayer {
  LayerFacts facts;
  std::set<std::string> blobs;  // digests of blobs that were seen to unpack to this layer
};

// What ensure() needs to make a layer that is not there.
struct LayerSource {
  Descriptor blob;
  std::string diffId;
  bool checkBlob = true;           // compare the blob's digest and size too, not only the diff_id
  std::function<OpenFile()> open;  // called at most once
  bool wantBlob = false;           // also when the layer is there: read again what is not kept of the blob
};

// A layer that was unpacked beside the store, before anything names it: what it is shows only then. Resource; gone with it unless placed.
class PreparedLayer final {
 public:
  ~PreparedLayer();
  PreparedLayer(PreparedLayer&&) = default;
  PreparedLayer& operator=(PreparedLayer&&) = delete;
  std::string diffId, blob;  // digests
  uint64_t blobSize = 0;
  StoredLayer layer;
  int fs() const noexcept { return fs_.get(); }

 private:
  friend class LayerStore;
  explicit PreparedLayer(const StoreRoot& root) : root_(&root) {}
  const StoreRoot* root_;
  std::string temporary_;  // empty: placed
  UniqueFd working_, dir_, fs_;
  std::unique_ptr<KeptBlob> kept_;
};

class LayerStore final {
 public:
  // keep: layers' blobs stay in `blobs` as they came.
  LayerStore(const StoreRoot& root, const BlobStore& blobs, Limits limits, bool keep)
      : root_(root), blobs_(blobs), limits_(limits), keep_(keep) {}
  // nullopt: not there.
  std::optional<StoredLayer> find(const std::string& diffId) const;
  // Returns at once when the layer is there and the blob was seen before. Throws corrupt (digests), invalid (content), limit, cancelled;
  // nothing visible is left then.
  StoredLayer ensure(const LayerSource& source, const Watch& watch) const;
  // For content whose digests nobody has said. keep: with its blob, as far as the store keeps them.
  PreparedLayer prepare(OpenFile file, const std::string& what, bool keep, const Watch& watch) const;
  // Makes it visible; there already: it is dropped. A lease must name it before.
  void place(PreparedLayer&& prepared, const Watch& watch) const;
  std::string pathOf(const std::string& diffId) const { return root_.path() + "/layers/" + hexOf(diffId) + "/fs"; }
  std::vector<std::string> diffIds() const;
  // Takes the layer out of sight (under the store's lock, which the caller holds); returns the name in tmp/ to remove at leisure.
  std::string hide(const std::string& diffId) const;

 private:
  struct Streamed {
    LayerFacts facts;
    std::string blob, diffId;
    std::unique_ptr<KeptBlob> kept;
  };
  StoredLayer unpack(const LayerSource& source, const Watch& watch) const;
  void verifyOnly(const LayerSource& source, const Watch& watch) const;
  Streamed streamChecked(const LayerSource& source, const Watch& watch, int fsFd) const;
  Streamed stream(OpenFile file, const std::string& what, const Watch& watch, int fsFd, bool keep) const;
  void makeVisible(const std::string& temporary, const std::string& diffId) const;
  void addBlob(const std::string& diffId, StoredLayer& layer, const std::string& blob) const;
  void writeRecord(int dir, const StoredLayer& layer, bool durable) const;
  void forget(const std::string& diffId) const;

  const StoreRoot& root_;
  const BlobStore& blobs_;
  Limits limits_;
  const bool keep_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, StoredLayer> known_;  // parsed layer.json; whether the layer is there is asked of the disk each time
};

}  // namespace rauha::oci
