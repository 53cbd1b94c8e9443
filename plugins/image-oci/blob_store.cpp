#include "plugins/image-oci/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {

void checkDigest(const std::string& what, const std::string& wanted, const std::string& found) {
  if (wanted != found)
    throw Error("image", Code::corrupt, what + ": digest mismatch: expected " + wanted + ", found " + found,
                "the image is damaged or was changed; copy or build it again");
}

void checkSize(const std::string& what, uint64_t wanted, uint64_t found) {
  if (wanted != found)
    throw Error("image", Code::corrupt,
                what + ": size mismatch: expected " + std::to_string(wanted) + " bytes, found " + std::to_string(found),
                "the image is damaged or was changed; copy or build it again");
}

std::optional<std::string> BlobStore::read(const std::string& digest) const {
  const UniqueFd fd(openat(root_.blobs(), hexOf(digest).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throwIo("open blob " + digest);
  return readAll(fd.get(), "blob " + digest, kJsonMax);
}

bool BlobStore::has(const std::string& digest) const { return faccessat(root_.blobs(), hexOf(digest).c_str(), F_OK, 0) == 0; }

std::optional<OpenFile> BlobStore::open(const std::string& digest) const {
  UniqueFd fd(openat(root_.blobs(), hexOf(digest).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throwIo("open blob " + digest);
  struct stat meta {};
  if (fstat(fd.get(), &meta) != 0) throwIo("stat blob " + digest);
  const auto size = static_cast<uint64_t>(meta.st_size);
  return OpenFile{streamFile(std::move(fd), 0, size, "blob " + digest), size, {}};
}

void BlobStore::put(const std::string& digest, uint64_t size, ByteStream& content, const std::string& what) const {
  if (has(digest)) return;
  std::string temporary;
  const UniqueFd fd = root_.newLocked(root_.tmp(), "blob", temporary);
  Defer remove([&] { unlinkat(root_.tmp(), temporary.c_str(), 0); });
  Sha256 hash;
  uint64_t count = 0;
  for (std::string_view block; !(block = content.next()).empty();) {
    count += block.size();
    if (count > size) checkSize(what, size, count);
    hash.update(block.data(), block.size());
    while (!block.empty()) {
      const ssize_t n = write(fd.get(), block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throwIo("store " + what);
      block.remove_prefix(static_cast<size_t>(n));
    }
  }
  checkSize(what, size, count);
  checkDigest(what, digest, hash.finish());
  if (fsync(fd.get()) != 0) throwIo("store " + what);
  if (renameat(root_.tmp(), temporary.c_str(), root_.blobs(), hexOf(digest).c_str()) != 0) throwIo("store " + what);
  remove.dismiss();
  if (fsync(root_.blobs()) != 0) throwIo("store " + what);
}

void BlobStore::putText(const std::string& digest, std::string content, const std::string& what) const {
  const uint64_t size = content.size();
  put(digest, size, *streamText(std::move(content)), what);
}

std::vector<std::string> BlobStore::digests() const {
  std::vector<std::string> out;
  for (const std::string& name : namesIn(root_.blobs(), "the blobs")) out.push_back("sha256:" + name);
  return out;
}

void BlobStore::remove(const std::string& digest) const { removeTree(root_.blobs(), hexOf(digest)); }

}  // namespace rauha::oci
