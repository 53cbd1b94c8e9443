#pragma once
// A layer's blob, kept beside its unpacked tree, so that the image can be exported as it came and the tree compared with it. The bytes are
// written while they pass on their way to be unpacked; they become visible when they were verified. A blob that cannot be written is not
// kept, and its layer goes on without. Resource; what is not committed is removed with it. One thread at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "plugins/image-oci/store_root.h"
#include "plugins/image-oci/stream.h"

namespace rauha::oci {

class KeptBlob final {
 public:
  // A new file in tmp/. nullptr: it cannot be made (a full disk).
  static std::unique_ptr<KeptBlob> begin(const StoreRoot& store);
  // A file in tmp/ that somebody else fills with the same bytes; it stays theirs until commit. held: its descriptor, with its lock. From
  // the verifying to the commit nobody may write into it: another pull of a blob that says it has this digest would.
  static std::unique_ptr<KeptBlob> of(const StoreRoot& store, std::string temporary, UniqueFd held);
  ~KeptBlob();
  KeptBlob(const KeptBlob&) = delete;
  KeptBlob& operator=(const KeptBlob&) = delete;

  // begin() only.
  void append(std::string_view block) noexcept;
  // The caller has verified the bytes. False: it is not whole, or the disk said no.
  bool commit(const std::string& digest, uint64_t size) noexcept;

 private:
  explicit KeptBlob(const StoreRoot& store) : store_(store) {}
  const StoreRoot& store_;
  std::string temporary_;
  UniqueFd file_;     // locked
  bool own_ = false;  // made by begin()
  bool broken_ = false;
};

// Passes everything on, and writes it to `kept`, which outlives it.
std::unique_ptr<ByteStream> keeping(std::unique_ptr<ByteStream> below, KeptBlob& kept);

}  // namespace rauha::oci
