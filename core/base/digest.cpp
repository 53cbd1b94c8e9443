#include "core/base/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "core/base/error.h"

namespace rauha {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() {
    if (context == nullptr || EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1)
      throw Error("daemon", Code::internal, "sha256: OpenSSL cannot start a digest");
  }
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(const void* data, size_t size) {
  if (EVP_DigestUpdate(state_->context, data, size) != 1) throw Error("daemon", Code::internal, "sha256: OpenSSL update failed");
}

std::string Sha256::finish() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context, bytes, &size) != 1) throw Error("daemon", Code::internal, "sha256: OpenSSL final failed");
  static constexpr char hex[] = "0123456789abcdef";
  std::string out = "sha256:";
  for (unsigned i = 0; i < size; ++i) out += {hex[bytes[i] >> 4], hex[bytes[i] & 15]};
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
