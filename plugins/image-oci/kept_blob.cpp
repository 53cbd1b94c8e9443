#include "plugins/image-oci/kept_blob.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"

namespace rauha::oci {
namespace {

class KeepingStream final : public ByteStream {
 public:
  KeepingStream(std::unique_ptr<ByteStream> below, KeptBlob& kept) : below_(std::move(below)), kept_(kept) {}
  std::string_view next() override {
    const std::string_view block = below_->next();
    kept_.append(block);
    return block;
  }
  void interrupt() noexcept override { below_->interrupt(); }

 private:
  std::unique_ptr<ByteStream> below_;
  KeptBlob& kept_;
};

}  // namespace

std::unique_ptr<KeptBlob> KeptBlob::begin(const StoreRoot& store) {
  std::unique_ptr<KeptBlob> out(new KeptBlob(store));
  try {
    out->own_ = store.newLocked(store.tmp(), "blob", out->temporary_);
  } catch (const Error&) {
    return nullptr;
  }
  return out;
}

std::unique_ptr<KeptBlob> KeptBlob::of(const StoreRoot& store, std::string temporary) {
  std::unique_ptr<KeptBlob> out(new KeptBlob(store));
  out->temporary_ = std::move(temporary);
  return out;
}

KeptBlob::~KeptBlob() {
  if (own_ && !temporary_.empty()) unlinkat(store_.tmp(), temporary_.c_str(), 0);
}

void KeptBlob::append(std::string_view block) noexcept {
  while (!broken_ && !block.empty()) {
    const ssize_t n = write(own_.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      broken_ = true;
      return;
    }
    block.remove_prefix(static_cast<size_t>(n));
  }
}

bool KeptBlob::commit(const std::string& digest, uint64_t size) noexcept {
  if (broken_ || temporary_.empty()) return false;
  const UniqueFd file(openat(store_.tmp(), temporary_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  // Whoever would go on with a half-fetched file must not do so with the blob that it becomes.
  if (file && !own_ && flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  struct stat meta {};
  if (!file || fstat(file.get(), &meta) != 0 || static_cast<uint64_t>(meta.st_size) != size || fdatasync(file.get()) != 0) return false;
  if (renameat(store_.tmp(), temporary_.c_str(), store_.blobs(), hexOf(digest).c_str()) != 0) return false;
  temporary_.clear();
  return fsync(store_.blobs()) == 0;
}

std::unique_ptr<ByteStream> keeping(std::unique_ptr<ByteStream> below, KeptBlob& kept) {
  return std::make_unique<KeepingStream>(std::move(below), kept);
}

}  // namespace rauha::oci
