#include "core/changes/content.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/base/digest.h"
#include "core/base/error.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr size_t kChunk = 256 * 1024;
constexpr uint64_t kBinaryWindow = 8000;  // as git looks

// No larger than the file: most are small, and a large block is a mapping of its own each time.
std::unique_ptr<char[]> buffer(uint64_t size) { return std::unique_ptr<char[]>(new char[std::clamp<uint64_t>(size, 1, kChunk)]); }

// Where data begins at or after `at`; `size` when there is only a hole. File systems that know no holes have data everywhere.
uint64_t nextData(int fd, uint64_t at, uint64_t size) {
  const off_t found = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (found >= 0) return std::min(static_cast<uint64_t>(found), size);
  return errno == ENXIO ? size : at;
}

uint64_t nextHole(int fd, uint64_t at, uint64_t size) {
  const off_t found = lseek(fd, static_cast<off_t>(at), SEEK_HOLE);
  return found > static_cast<off_t>(at) ? std::min(static_cast<uint64_t>(found), size) : size;
}

// Fewer than `want` only at the file's end.
size_t readAt(int fd, char* out, size_t want, uint64_t at) {
  size_t have = 0;
  while (have < want) {
    const ssize_t n = pread(fd, out + have, want - have, static_cast<off_t>(at + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno(kClass, "read a file's content");
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  return have;
}

void writeAt(int fd, const char* data, size_t size, uint64_t at, WriteBudget& budget) {
  if (budget.exceeded) return;
  if (size > budget.left) {
    budget.exceeded = true;
    return;
  }
  budget.left -= size;
  while (size > 0) {
    const ssize_t n = pwrite(fd, data, size, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
      budget.exceeded = true;
      budget.error = errno;
      return;
    }
    if (n < 0) throwErrno(kClass, "write a kept file");
    data += n;
    at += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
}

Digest bytesOf(std::string_view text) {
  Digest out{};
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  text.remove_prefix(text.find(':') + 1);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  return out;
}

class Digester {
 public:
  Digester(uint64_t holeBytes) : holesLeft_(holeBytes) {}
  void data(const char* bytes, size_t size) {
    if (!given_) sha_.update(bytes, size);
  }
  void hole(uint64_t size) {
    if (size > holesLeft_) given_ = true;
    if (given_ || size == 0) return;
    holesLeft_ -= size;
    if (!zeros_) zeros_ = std::unique_ptr<char[]>(new char[kChunk]());
    for (; size > 0; size -= std::min<uint64_t>(size, kChunk)) sha_.update(zeros_.get(), std::min<uint64_t>(size, kChunk));
  }
  std::optional<Digest> finish() {
    if (given_) return std::nullopt;
    return bytesOf(sha_.finish());
  }

 private:
  Sha256 sha_;
  uint64_t holesLeft_;
  bool given_ = false;  // given up
  std::unique_ptr<char[]> zeros_;
};

}  // namespace

Content readContent(int from, uint64_t size, uint64_t holeBytes, int to, WriteBudget& budget) {
  Content out;
  Digester digester(holeBytes);
  const auto chunk = buffer(size);
  uint64_t at = 0, written = 0;
  while (at < size) {
    const uint64_t data = nextData(from, at, size);
    if (data > at) {
      digester.hole(data - at);
      out.binary = out.binary || at < kBinaryWindow;
      at = data;
    }
    const uint64_t end = at < size ? nextHole(from, at, size) : size;
    while (at < end) {
      const size_t n = readAt(from, chunk.get(), std::min<uint64_t>(kChunk, end - at), at);
      if (n == 0) break;  // shorter than it was: a host's file, alive
      if (at < kBinaryWindow) out.binary = out.binary || memchr(chunk.get(), 0, std::min<uint64_t>(n, kBinaryWindow - at)) != nullptr;
      digester.data(chunk.get(), n);
      if (to >= 0) writeAt(to, chunk.get(), n, at, budget);
      at += n;
      written = at;
    }
    if (at < end) break;
  }
  // Where it ends with a hole.
  if (to >= 0 && written != size && !budget.exceeded && ftruncate(to, static_cast<off_t>(size)) != 0)
    throwErrno(kClass, "set the size of a kept file");
  out.digest = digester.finish();
  return out;
}

Content readContent(int from, uint64_t size, uint64_t holeBytes) {
  WriteBudget none;
  return readContent(from, size, holeBytes, -1, none);
}

Content readContent(int from, const struct stat& st, uint64_t holeBytes) {
  const auto size = static_cast<uint64_t>(st.st_size);
  if (size > kChunk || static_cast<uint64_t>(st.st_blocks) * 512 < size) return readContent(from, size, holeBytes);
  const auto bytes = buffer(size);
  return contentOf({bytes.get(), readAt(from, bytes.get(), size, 0)});
}

Content contentOf(std::string_view bytes) {
  Sha256 sha;
  sha.update(bytes.data(), bytes.size());
  return {bytesOf(sha.finish()), bytes.substr(0, kBinaryWindow).find('\0') != std::string_view::npos};
}

std::string readBytes(int fd, uint64_t size) {
  std::string out(size, '\0');
  readAt(fd, out.data(), out.size(), 0);
  return out;
}

bool isBinary(int fd, uint64_t size) {
  char window[kBinaryWindow];
  const size_t n = readAt(fd, window, std::min<uint64_t>(size, sizeof window), 0);
  return memchr(window, 0, n) != nullptr;
}

bool sameContent(int a, int b, uint64_t size) {
  const auto left = buffer(size), right = buffer(size);
  for (uint64_t at = 0; at < size;) {
    at = std::min(nextData(a, at, size), nextData(b, at, size));
    const size_t want = std::min<uint64_t>(kChunk, size - at);
    if (want == 0) break;
    const size_t n = readAt(a, left.get(), want, at);
    if (readAt(b, right.get(), want, at) != n || memcmp(left.get(), right.get(), n) != 0) return false;
    if (n < want) break;
    at += n;
  }
  return true;
}

}  // namespace rauha::changes
