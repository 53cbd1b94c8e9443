#pragma once
// Object ids as git makes them: SHA-1, or SHA-256 where the repository says so. A value; any thread.

#include <cstdint>
#include <string>
#include <string_view>

// The low-level functions: they are fast and cannot fail.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

namespace rauha::changes {

inline constexpr size_t kSha1Bytes = SHA_DIGEST_LENGTH, kSha256Bytes = SHA256_DIGEST_LENGTH;

class GitHash final {
 public:
  // idBytes: one of the two above.
  explicit GitHash(size_t idBytes) : isSha1_(idBytes == kSha1Bytes) {
    if (isSha1_)
      SHA1_Init(&sha1_);
    else
      SHA256_Init(&sha256_);
  }
  void update(std::string_view bytes) {
    if (isSha1_)
      SHA1_Update(&sha1_, bytes.data(), bytes.size());
    else
      SHA256_Update(&sha256_, bytes.data(), bytes.size());
  }
  // Bytes, not hex digits; once.
  std::string finish() {
    unsigned char out[kSha256Bytes];
    if (isSha1_)
      SHA1_Final(out, &sha1_);
    else
      SHA256_Final(out, &sha256_);
    return {reinterpret_cast<const char*>(out), isSha1_ ? kSha1Bytes : kSha256Bytes};
  }

 private:
  const bool isSha1_;
  SHA_CTX sha1_{};
  SHA256_CTX sha256_{};
};

}  // namespace rauha::changes
