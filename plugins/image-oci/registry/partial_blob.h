#pragma once
// What has arrived of a blob, kept in the store's tmp/ under the blob's digest while it is on its way, so that the next pull goes on where
// this one broke off (a lost connection, a cancelled command, kill -9). Nothing of it is believed: it is hashed and unpacked again from the
// first byte. One holder at a time; who comes second does without. Resource; one thread.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "plugins/image-oci/store_root.h"

namespace rauha::oci {

class PartialBlob final {
 public:
  // nullptr: somebody else holds it. `size`: of the whole blob; more than that is thrown away.
  static std::unique_ptr<PartialBlob> open(const StoreRoot& store, const std::string& digest, uint64_t size);
  uint64_t size() const noexcept { return size_; }
  int fd() const noexcept { return fd_.get(); }
  // A full disk ends the keeping, not the pull.
  void append(std::string_view block) noexcept;

  static std::string nameOf(const std::string& digest);  // in tmp/
  static void remove(const StoreRoot& store, const std::string& digest) noexcept;
  static bool isOne(const std::string& name) noexcept;
  // Nobody holds it and it is older than a week.
  static bool isStale(int dir, const std::string& name);

 private:
  PartialBlob(UniqueFd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}
  UniqueFd fd_;
  uint64_t size_;
  bool broken_ = false;
};

}  // namespace rauha::oci
