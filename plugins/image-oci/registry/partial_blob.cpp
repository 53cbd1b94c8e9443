#include "plugins/image-oci/registry/partial_blob.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

constexpr std::string_view kPrefix = "partial-";
constexpr time_t kKeepSeconds = 7 * 24 * 3600;

}  // namespace

std::string PartialBlob::nameOf(const std::string& digest) { return std::string(kPrefix) + hexOf(digest); }

std::unique_ptr<PartialBlob> PartialBlob::open(const StoreRoot& store, const std::string& digest, uint64_t size) {
  const std::string name = nameOf(digest);
  UniqueFd fd(openat(store.tmp(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throwIo("open the temporary file of blob " + digest);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return nullptr;
  struct stat mine {
  }, there{};
  if (fstat(fd.get(), &mine) != 0) throwIo("stat the temporary file of blob " + digest);
  // Removed between open and lock by whoever finished it.
  if (fstatat(store.tmp(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 || there.st_ino != mine.st_ino) return nullptr;
  auto have = static_cast<uint64_t>(mine.st_size);
  if (have > size) {
    if (ftruncate(fd.get(), 0) != 0) throwIo("empty the temporary file of blob " + digest);
    have = 0;
  }
  return std::unique_ptr<PartialBlob>(new PartialBlob(std::move(fd), have));
}

void PartialBlob::append(std::string_view block) noexcept {
  while (!broken_ && !block.empty()) {
    const ssize_t n = pwrite(fd_.get(), block.data(), block.size(), static_cast<off_t>(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      broken_ = true;
      return;
    }
    size_ += static_cast<uint64_t>(n);
    block.remove_prefix(static_cast<size_t>(n));
  }
}

void PartialBlob::remove(const StoreRoot& store, const std::string& digest) noexcept { unlinkat(store.tmp(), nameOf(digest).c_str(), 0); }

bool PartialBlob::isOne(const std::string& name) noexcept { return name.compare(0, kPrefix.size(), kPrefix) == 0; }

bool PartialBlob::isStale(int dir, const std::string& name) {
  struct stat meta {};
  if (fstatat(dir, name.c_str(), &meta, AT_SYMLINK_NOFOLLOW) != 0) return false;
  return !isHeld(dir, name) && time(nullptr) - meta.st_mtime > kKeepSeconds;
}

}  // namespace rauha::oci
