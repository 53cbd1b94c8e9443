#include "frontends/cli/changes/git_binary.h"

// The low-level functions are what keeps the whole of libcrypto out of the static program; git's names need nothing newer.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
constexpr size_t kLineBytes = 52;

std::string deflated(std::string_view content) {
  uLongf size = compressBound(content.size());
  std::string out(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(content.data()), content.size(),
                Z_DEFAULT_COMPRESSION) != Z_OK)
    throw Error("task", Code::internal, "zlib cannot compress " + std::to_string(content.size()) + " bytes");
  out.resize(size);
  return out;
}

// Four bytes, big-endian, as five digits; a short group is filled with zeros.
void appendGroup(std::string& out, std::string_view group) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = (value << 8) | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0u);
  char digits[5];
  for (int i = 4; i >= 0; --i, value /= 85) digits[i] = kDigits[value % 85];
  out.append(digits, sizeof digits);
}

}  // namespace

std::string gitBlobId(std::string_view content) {
  SHA_CTX context;
  const std::string head = "blob " + std::to_string(content.size());
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1_Init(&context);
  SHA1_Update(&context, head.c_str(), head.size() + 1);  // with its NUL
  SHA1_Update(&context, content.data(), content.size());
  SHA1_Final(digest, &context);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : digest) out += {kHex[byte >> 4], kHex[byte & 15]};
  return out;
}

std::string gitLiteral(std::string_view content) {
  const std::string data = deflated(content);
  std::string out = "literal " + std::to_string(content.size()) + "\n";
  for (size_t at = 0; at < data.size(); at += kLineBytes) {
    const std::string_view line = std::string_view(data).substr(at, kLineBytes);
    // The line's length: A to Z for 1 to 26, a to z for 27 to 52.
    out += static_cast<char>(line.size() <= 26 ? 'A' + line.size() - 1 : 'a' + line.size() - 27);
    for (size_t i = 0; i < line.size(); i += 4) appendGroup(out, line.substr(i, 4));
    out += '\n';
  }
  return out + "\n";
}

}  // namespace rauha::cli
