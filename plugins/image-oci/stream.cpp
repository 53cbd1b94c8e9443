#include "plugins/image-oci/stream.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "core/base/error.h"
#include "plugins/image-oci/inflate.h"
#include "plugins/image-oci/limits.h"

namespace rauha::oci {
namespace {

constexpr size_t kBlock = 256u << 10;

class FileStream final : public ByteStream {
 public:
  FileStream(UniqueFd fd, uint64_t offset, uint64_t size, std::string what)
      : fd_(std::move(fd)),
        offset_(offset),
        left_(size),
        what_(std::move(what)),
        buffer_(std::min<uint64_t>(kBlock, std::max<uint64_t>(size, 1))) {}

  std::string_view next() override {
    if (left_ == 0) return {};
    ssize_t n;
    do n = pread(fd_.get(), buffer_.data(), std::min<uint64_t>(buffer_.size(), left_), static_cast<off_t>(offset_));
    while (n < 0 && errno == EINTR);
    if (n < 0) throwErrno("image", "read " + what_);
    if (n == 0) throw Error("image", Code::corrupt, what_ + " ends " + std::to_string(left_) + " bytes too early");
    offset_ += static_cast<uint64_t>(n);
    left_ -= static_cast<uint64_t>(n);
    return {buffer_.data(), static_cast<size_t>(n)};
  }

 private:
  UniqueFd fd_;
  uint64_t offset_, left_;
  std::string what_;
  std::vector<char> buffer_;
};

class TextStream final : public ByteStream {
 public:
  explicit TextStream(std::string text) : text_(std::move(text)) {}
  std::string_view next() override { return std::exchange(done_, true) ? std::string_view() : std::string_view(text_); }

 private:
  std::string text_;
  bool done_ = false;
};

// What was already read to look at, then the rest.
class PeekedStream final : public ByteStream {
 public:
  PeekedStream(std::string head, std::unique_ptr<ByteStream> below) : head_(std::move(head)), below_(std::move(below)) {}
  std::string_view next() override {
    if (!std::exchange(headDone_, true) && !head_.empty()) return head_;
    return below_->next();
  }
  void interrupt() noexcept override { below_->interrupt(); }

 private:
  std::string head_;
  std::unique_ptr<ByteStream> below_;
  bool headDone_ = false;
};

class WatchedStream final : public ByteStream {
 public:
  WatchedStream(std::unique_ptr<ByteStream> below, const Watch& watch, std::string what, uint64_t total)
      : below_(std::move(below)), watch_(watch), what_(std::move(what)), total_(total) {}
  std::string_view next() override {
    watch_.mayGoOn();
    const std::string_view block = below_->next();
    done_ += block.size();
    if (done_ >= reported_ + kProgressStep || (block.empty() && done_ != reported_)) {
      reported_ = done_;
      watch_.progress(what_, done_, total_);
    }
    return block;
  }
  void interrupt() noexcept override { below_->interrupt(); }

 private:
  std::unique_ptr<ByteStream> below_;
  const Watch& watch_;
  std::string what_;
  uint64_t total_, done_ = 0, reported_ = 0;
};

struct Magic {
  std::string_view bytes, name;
};
using namespace std::string_view_literals;
constexpr std::array kForeign = {Magic{"\xfd"
                                       "7zXZ\0"sv,
                                       "xz"},
                                 Magic{"BZh"sv, "bzip2"}, Magic{"\x04\x22\x4d\x18"sv, "lz4"}, Magic{"PK\x03\x04"sv, "zip"},
                                 Magic{"7z\xbc\xaf\x27\x1c"sv, "7z"}};

bool starts(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

}  // namespace

std::unique_ptr<ByteStream> streamFile(UniqueFd fd, uint64_t offset, uint64_t size, std::string what) {
  return std::make_unique<FileStream>(std::move(fd), offset, size, std::move(what));
}
std::unique_ptr<ByteStream> streamText(std::string text) { return std::make_unique<TextStream>(std::move(text)); }

std::unique_ptr<ByteStream> watched(std::unique_ptr<ByteStream> below, const Watch& watch, std::string what, uint64_t total) {
  return std::make_unique<WatchedStream>(std::move(below), watch, std::move(what), total);
}

DigestStream::DigestStream(std::unique_ptr<ByteStream> below, uint64_t limit, std::string what)
    : below_(std::move(below)), limit_(limit), what_(std::move(what)) {}

std::string_view DigestStream::next() {
  const std::string_view block = below_->next();
  if (count_ += block.size(); count_ > limit_)
    throw Error("image", Code::limit, what_ + " is larger than " + std::to_string(limit_) + " bytes");
  digest_.update(block.data(), block.size());
  return block;
}

std::string DigestStream::finish() {
  while (!next().empty()) {
  }
  return digest_.finish();
}

std::unique_ptr<ByteStream> decompress(std::unique_ptr<ByteStream> below, std::string what) {
  std::string head;
  for (std::string_view block; head.size() < 8 && !(block = below->next()).empty();) head.append(block);
  for (const Magic& m : kForeign)
    if (starts(head, m.bytes))
      throw Error("image", Code::unsupported, what + ": compressed with " + std::string(m.name) + "; layers are gzip, zstd or plain tar");
  const bool gzip = starts(head, "\x1f\x8b"sv);
  const bool zstd = starts(head, "\x28\xb5\x2f\xfd"sv) ||
                    (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && starts(std::string_view(head).substr(1), "\x2a\x4d\x18"sv));
  auto whole = std::make_unique<PeekedStream>(std::move(head), std::move(below));
  if (gzip) return gunzip(std::move(whole), std::move(what));
  if (zstd) return unzstd(std::move(whole), std::move(what));
  return whole;
}

std::string drain(ByteStream& stream, size_t limit, const std::string& what) {
  std::string out;
  for (std::string_view block; !(block = stream.next()).empty();) {
    if (out.size() + block.size() > limit) throw Error("image", Code::limit, what + " is larger than " + std::to_string(limit) + " bytes");
    out.append(block);
  }
  return out;
}

}  // namespace rauha::oci
