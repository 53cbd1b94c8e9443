#pragma once
// Bytes that arrive in blocks: a chain of readers, each owning the one below it (file -> digest -> decompression -> digest -> tar).
// Resources with one owner, used by one thread.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/digest.h"
#include "core/base/fd.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // The next block, valid until the next call; empty: the end, for ever. Throws Error.
  virtual std::string_view next() = 0;
  // From another thread: nobody needs the rest; a next() that waits may end with an error.
  virtual void interrupt() noexcept {}
};

// `size` bytes of a descriptor from `offset` on (pread: the descriptor's own position is not used, so it may be shared).
std::unique_ptr<ByteStream> streamFile(UniqueFd fd, uint64_t offset, uint64_t size, std::string what);
std::unique_ptr<ByteStream> streamText(std::string text);

// Counts and hashes what passes. Throws limit as soon as more than `limit` bytes came, so that a lying size cannot cost more.
class DigestStream final : public ByteStream {
 public:
  DigestStream(std::unique_ptr<ByteStream> below, uint64_t limit, std::string what);
  std::string_view next() override;
  void interrupt() noexcept override { below_->interrupt(); }
  // Reads the rest and returns the digest of all. Once.
  std::string finish();
  // [any]
  uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::unique_ptr<ByteStream> below_;
  Sha256 digest_;
  std::atomic<uint64_t> count_{0};
  uint64_t limit_;
  std::string what_;
};

// Passes everything on; asks now and then whether it may go on, and says how far it is. `watch` outlives it.
std::unique_ptr<ByteStream> watched(std::unique_ptr<ByteStream> below, const Watch& watch, std::string what, uint64_t total);

// Undoes gzip or zstd, by the first bytes; anything else passes as it is, except compressions that OCI does not have (refused by name).
std::unique_ptr<ByteStream> decompress(std::unique_ptr<ByteStream> below, std::string what);

// All of it, at most `limit` bytes.
std::string drain(ByteStream& stream, size_t limit, const std::string& what);

}  // namespace rauha::oci
