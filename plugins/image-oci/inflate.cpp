#include "plugins/image-oci/inflate.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <vector>

#include "core/base/error.h"

namespace rauha::oci {
namespace {

constexpr size_t kOutput = 256u << 10;
constexpr int kWindowLogMax = 25;  // 32 MiB, the most that image builders use; libzstd would take 128 for each layer under way

[[noreturn]] void damaged(const std::string& what, const std::string& why) {
  throw Error("image", Code::corrupt, what + ": cannot decompress: " + why, "the image is damaged; copy or build it again");
}

[[noreturn]] void truncated(const std::string& what, const char* format) {
  throw Error("image", Code::corrupt, what + ": cannot decompress: truncated " + format + ": it ends in the middle",
              "the image is damaged; copy or build it again");
}

const char* reasonOf(int code) noexcept {
  switch (code) {
    case ISAL_INVALID_BLOCK:
      return "an invalid block";
    case ISAL_INVALID_SYMBOL:
      return "an invalid symbol";
    case ISAL_INVALID_LOOKBACK:
      return "a distance beyond the beginning";
    case ISAL_INVALID_WRAPPER:
    case ISAL_UNSUPPORTED_METHOD:
      return "a malformed gzip header";
    case ISAL_INCORRECT_CHECKSUM:
      return "a wrong checksum";
    default:
      return "malformed data";
  }
}

class Gunzip final : public ByteStream {
 public:
  Gunzip(std::unique_ptr<ByteStream> below, std::string what)
      : below_(std::move(below)), what_(std::move(what)), state_(std::make_unique<inflate_state>()), output_(kOutput) {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }

  std::string_view next() override {
    inflate_state& s = *state_;
    s.next_out = output_.data();
    s.avail_out = static_cast<uint32_t>(output_.size());
    while (!end_ && s.avail_out > 0) {
      if (s.block_state == ISAL_BLOCK_FINISH && !anotherMember()) break;
      if (s.avail_in == 0 && !refill()) {
        // What the decoder holds back may still fill the output; then it must have come to an end.
        const uint32_t before = s.avail_out;
        step();
        if (s.block_state == ISAL_BLOCK_FINISH || s.avail_out != before) continue;
        truncated(what_, "gzip");
      }
      step();
    }
    return {reinterpret_cast<const char*>(output_.data()), output_.size() - s.avail_out};
  }

 private:
  void step() {
    if (const int code = isal_inflate(state_.get()); code < 0) damaged(what_, reasonOf(code));
  }
  // False: there is no more.
  bool refill() {
    if (inputEnd_) return false;
    const std::string_view block = below_->next();
    if (block.empty()) return inputEnd_ = true, false;
    // isal_inflate does not write to its input.
    state_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(block.data()));
    state_->avail_in = static_cast<uint32_t>(block.size());
    return true;
  }
  // A member has ended. Two bytes tell whether another one follows; they may lie in two blocks.
  bool anotherMember() {
    inflate_state& s = *state_;
    std::string head;
    while (head.size() < 2) {
      if (s.avail_in == 0 && !refill()) break;
      head += static_cast<char>(*s.next_in);
      ++s.next_in;
      --s.avail_in;
    }
    if (head != "\x1f\x8b") return end_ = true, false;
    isal_inflate_reset(&s);
    // Given back as a block of their own.
    uint8_t* const rest = s.next_in;
    const uint32_t left = s.avail_in;
    s.next_in = reinterpret_cast<uint8_t*>(head.data());
    s.avail_in = 2;
    step();
    if (s.avail_in != 0) damaged(what_, "a malformed gzip header");
    s.next_in = rest;
    s.avail_in = left;
    return true;
  }

  std::unique_ptr<ByteStream> below_;
  std::string what_;
  std::unique_ptr<inflate_state> state_;
  std::vector<uint8_t> output_;
  bool inputEnd_ = false, end_ = false;
};

struct ZstdFree {
  void operator()(ZSTD_DCtx* c) const noexcept { ZSTD_freeDCtx(c); }
};

class Unzstd final : public ByteStream {
 public:
  Unzstd(std::unique_ptr<ByteStream> below, std::string what)
      : below_(std::move(below)), what_(std::move(what)), context_(ZSTD_createDCtx()), output_(kOutput) {
    if (!context_ || ZSTD_isError(ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowLogMax)) != 0)
      throw Error("image", Code::limit, what_ + ": out of memory for zstd");
  }

  std::string_view next() override {
    ZSTD_outBuffer out{output_.data(), output_.size(), 0};
    while (out.pos < out.size) {
      if (in_.pos == in_.size) {
        const std::string_view block = inputEnd_ ? std::string_view() : below_->next();
        if (block.empty()) inputEnd_ = true;
        in_ = {block.data(), block.size(), 0};
      }
      if (inputEnd_ && expected_ == 0) break;  // between frames
      const size_t before = out.pos;
      expected_ = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_getErrorCode(expected_) == ZSTD_error_frameParameter_windowTooLarge)
        throw Error("image", Code::limit,
                    what_ + ": zstd needs a window of more than " + std::to_string(1u << (kWindowLogMax - 20)) + " MiB to unpack it",
                    "compress it again at level 20 or below, without --long");
      if (ZSTD_isError(expected_) != 0) damaged(what_, std::string("zstd: ") + ZSTD_getErrorName(expected_));
      if (inputEnd_ && expected_ != 0 && out.pos == before) truncated(what_, "zstd");
    }
    return {output_.data(), out.pos};
  }

 private:
  std::unique_ptr<ByteStream> below_;
  std::string what_;
  std::unique_ptr<ZSTD_DCtx, ZstdFree> context_;
  std::vector<char> output_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  size_t expected_ = 0;
  bool inputEnd_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> gunzip(std::unique_ptr<ByteStream> below, std::string what) {
  return std::make_unique<Gunzip>(std::move(below), std::move(what));
}
std::unique_ptr<ByteStream> unzstd(std::unique_ptr<ByteStream> below, std::string what) {
  return std::make_unique<Unzstd>(std::move(below), std::move(what));
}

}  // namespace rauha::oci
