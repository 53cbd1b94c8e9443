#pragma once
// The store's directory and its locks.
//
//   blobs/sha256/HEX   manifests, configurations and (keep_blobs) layers as they came, content-addressed
//   layers/HEX/        one unpacked layer (HEX: its diff_id): fs/ and layer.json
//   images/HEX.json    one record for each name (HEX: sha256 of the name)
//   leases/ID.json     what a zone uses; op-*: what a running call is about to use, locked while it lives
//   tmp/               half-done things, each locked by whoever makes it; locks/HEX: who unpacks the layer HEX
//   lock               held for moments only, by whoever changes what is visible
//
// Locks are flock(2): they end with their process, so that whatever is not locked was left behind. Several processes and threads may use
// one store. Thread: [any].

#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

class StoreRoot final {
 public:
  // Makes what is missing; the directory is the daemon's own, mode 0700.
  explicit StoreRoot(const std::string& path);
  const std::string& path() const noexcept { return path_; }
  int root() const noexcept { return root_.get(); }
  int blobs() const noexcept { return blobs_.get(); }
  int layers() const noexcept { return layers_.get(); }
  int images() const noexcept { return images_.get(); }
  int leases() const noexcept { return leases_.get(); }
  int tmp() const noexcept { return tmp_.get(); }
  int locks() const noexcept { return locks_.get(); }

  // The store's lock; released when the descriptor closes. Blocks for moments.
  UniqueFd lock() const;
  // The lock of one layer, waiting as long as another call unpacks it (asks `watch` meanwhile).
  UniqueFd lockLayer(const std::string& hex, const Watch& watch) const;
  // nullopt (a false descriptor) when somebody holds it.
  UniqueFd tryLockLayer(const std::string& hex) const;

  // A fresh, locked file with a random name in `dir`, prefix first; `name` receives the name.
  UniqueFd newLocked(int dir, std::string_view prefix, std::string& name) const;
  // Writes a small file so that it is there whole or not at all. durable: also after a loss of power.
  void writeWhole(int dir, const std::string& name, std::string_view content, bool durable) const;

 private:
  std::string path_;
  UniqueFd root_, blobs_, layers_, images_, leases_, tmp_, locks_;
};

// Does a living process hold the file's lock? What is gone is not held.
bool isHeld(int dir, const std::string& name);
// "sha256:ab…" -> "ab…"
std::string hexOf(std::string_view digest);

}  // namespace rauha::oci
