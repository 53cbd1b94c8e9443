#include "plugins/image-oci/kept_blob.h"

#include <fcntl.h>
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
    out->file_ = store.newLocked(store.tmp(), "blob", out->temporary_);
    out->own_ = true;
  } catch (const Error&) {
    return nullptr;
  }
  return out;
}

std::unique_ptr<KeptBlob> KeptBlob::of(const StoreRoot& store, std::string temporary, UniqueFd held) {
  std::unique_ptr<KeptBlob> out(new KeptBlob(store));
  out->temporary_ = std::move(temporary);
  out->file_ = std::move(held);
  return out;
}

KeptBlob::~KeptBlob() {
  if (own_ && !temporary_.empty()) unlinkat(store_.tmp(), temporary_.c_str(), 0);
}

void KeptBlob::append(std::string_view block) noexcept {
  while (!broken_ && !block.empty()) {
    const ssize_t n = write(file_.get(), block.data(), block.size());
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
  struct stat mine {
  }, there{};
  const bool whole = fstat(file_.get(), &mine) == 0 && static_cast<uint64_t>(mine.st_size) == size && fdatasync(file_.get()) == 0;
  // The name may have become another file's.
  if (!whole || fstatat(store_.tmp(), temporary_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 || there.st_ino != mine.st_ino) return false;
  if (renameat(store_.tmp(), temporary_.c_str(), store_.blobs(), hexOf(digest).c_str()) != 0) return false;
  temporary_.clear();
  return fsync(store_.blobs()) == 0;
}

std::unique_ptr<ByteStream> keeping(std::unique_ptr<ByteStream> below, KeptBlob& kept) {
  return std::make_unique<KeepingStream>(std::move(below), kept);
}

}  // namespace rauha::oci
