#include "core/base/digest.h"

// The low-level functions: they are as fast, cannot fail, and do not pull all of libcrypto into the static command line.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>

namespace rauha {

struct Sha256::State {
  SHA256_CTX context;
  State() { SHA256_Init(&context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(const void* data, size_t size) { SHA256_Update(&state_->context, data, size); }

std::string Sha256::finish() {
  unsigned char bytes[SHA256_DIGEST_LENGTH];
  SHA256_Final(bytes, &state_->context);
  static constexpr char hex[] = "0123456789abcdef";
  std::string out = "sha256:";
  for (const unsigned char byte : bytes) out += {hex[byte >> 4], hex[byte & 15]};
  return out;
}

std::string sha256(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes.data(), bytes.size());
  return digest.finish();
}

bool isSha256(std::string_view d) noexcept {
  return d.size() == 71 && d.substr(0, 7) == "sha256:" &&
         std::all_of(d.begin() + 7, d.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace rauha
