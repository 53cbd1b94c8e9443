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

#include "plugins/image-oci/files.h"
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
};

class LayerStore final {
 public:
  LayerStore(const StoreRoot& root, Limits limits) : root_(root), limits_(limits) {}
  // nullopt: not there.
  std::optional<StoredLayer> find(const std::string& diffId) const;
  // Returns at once when the layer is there and the blob was seen before. Throws corrupt (digests), invalid (content), limit, cancelled;
  // nothing visible is left then.
  StoredLayer ensure(const LayerSource& source, const Watch& watch) const;
  std::string pathOf(const std::string& diffId) const { return root_.path() + "/layers/" + hexOf(diffId) + "/fs"; }
  std::vector<std::string> diffIds() const;
  // Takes the layer out of sight (under the store's lock, which the caller holds); returns the name in tmp/ to remove at leisure.
  std::string hide(const std::string& diffId) const;

 private:
  StoredLayer unpack(const LayerSource& source, const Watch& watch) const;
  void verifyOnly(const LayerSource& source, const Watch& watch) const;
  LayerFacts stream(const LayerSource& source, const Watch& watch, int fsFd) const;
  void writeRecord(int dir, const StoredLayer& layer, bool durable) const;
  void forget(const std::string& diffId) const;

  const StoreRoot& root_;
  Limits limits_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, StoredLayer> known_;  // parsed layer.json; whether the layer is there is asked of the disk each time
};

}  // namespace rauha::oci
