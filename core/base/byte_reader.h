#pragma once
// Takes bytes from the front of a text that nobody vouches for: what is not there makes the reader bad, and reads as nothing or zero. A
// value that borrows the text; any thread.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rauha {

class ByteReader final {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  bool bad() const { return bad_; }
  std::string_view take(size_t size) {
    if (size > left()) return fail();
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  // Up to this byte, which is taken as well, and is to be among the next `most`.
  std::string_view until(char end, size_t most) {
    const size_t size = bytes_.substr(at_, most).find(end);
    if (size == std::string_view::npos) return fail();
    const auto out = take(size);
    ++at_;
    return out;
  }
  // The highest byte first. size: four at most.
  uint32_t number(size_t size) {
    uint32_t out = 0;
    for (const char c : take(size)) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  // For the caller who finds that what he took is wrong. Returns nothing.
  std::string_view fail() {
    bad_ = true;
    at_ = bytes_.size();
    return {};
  }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
  bool bad_ = false;
};

}  // namespace rauha
