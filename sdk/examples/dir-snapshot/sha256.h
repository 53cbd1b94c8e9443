#pragma once
// SHA-256 (FIPS 180-4), so that the example needs no library. A plugin of your own takes one (LINK OpenSSL::Crypto).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

class Sha256 {
 public:
  void update(std::string_view bytes);
  std::string hex();  // ends it

 private:
  void block(const unsigned char* bytes);
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> rest_{};
  uint64_t length_ = 0;
};
