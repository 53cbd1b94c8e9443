#pragma once
// The client's end of an export: takes what a plugin sends into a socket, and judges it by what the header promises.

#include <string>
#include <thread>

namespace rauha::conformance {

// Resource; used by one thread, takes on one of its own.
class ArchiveReceiver final {
 public:
  // deaf: takes nothing.
  explicit ArchiveReceiver(bool deaf = false);
  ~ArchiveReceiver();
  ArchiveReceiver(const ArchiveReceiver&) = delete;
  ArchiveReceiver& operator=(const ArchiveReceiver&) = delete;
  // The end for the plugin, which only borrows it.
  int target() const noexcept { return theirs_; }
  bool targetIsOpen() const noexcept;
  // The receiver goes away in the middle: whoever sends gets EPIPE.
  void hangUp();
  size_t size() const noexcept { return bytes_.size(); }  // after finish()
  // Everything that came. Once; the target is closed then.
  std::string finish();

 private:
  int mine_ = -1, theirs_ = -1;
  std::thread thread_;
  std::string bytes_;
};

// What is wrong with an export of the image with this manifest; empty: nothing. A plain tar of regular files: oci-layout, index.json (which
// names the manifest), blobs/sha256/HEX, each once and with its digest, and the end that a tar has.
std::string wrongArchive(const std::string& bytes, const std::string& manifest);

}  // namespace rauha::conformance
