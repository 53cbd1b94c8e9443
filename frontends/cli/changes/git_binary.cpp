#include "frontends/cli/changes/git_binary.h"

// The low-level functions are what keeps the whole of libcrypto out of the static program; git's names need nothing newer.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::cli {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
constexpr size_t kLineBytes = 52;

constexpr size_t kPiece = 256 << 10;

Error cannotCompress(std::string_view content) {
  return {"task", Code::internal, "zlib cannot compress " + std::to_string(content.size()) + " bytes"};
}

// Compressed content in pieces; all but the last are full lines' worth.
void deflated(std::string_view content, const std::function<void(std::string_view)>& sink) {
  z_stream stream{};
  if (deflateInit(&stream, Z_DEFAULT_COMPRESSION) != Z_OK) throw cannotCompress(content);
  const Defer end([&] { deflateEnd(&stream); });
  std::string out(kPiece / kLineBytes * kLineBytes, '\0');
  const auto restart = [&] {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
  };
  restart();
  for (int result = Z_OK; result != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const std::string_view piece = content.substr(0, kPiece);
      content.remove_prefix(piece.size());
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
      stream.avail_in = static_cast<uInt>(piece.size());
    }
    result = deflate(&stream, content.empty() ? Z_FINISH : Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) throw cannotCompress(content);
    if (stream.avail_out > 0 && result != Z_STREAM_END) continue;
    sink(std::string_view(out).substr(0, out.size() - stream.avail_out));
    restart();
  }
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

void writeGitLiteral(std::string_view content, const std::function<void(std::string_view)>& sink) {
  sink("literal " + std::to_string(content.size()) + "\n");
  deflated(content, [&](std::string_view data) {
    std::string out;
    for (size_t at = 0; at < data.size(); at += kLineBytes) {
      const std::string_view line = data.substr(at, kLineBytes);
      // The line's length: A to Z for 1 to 26, a to z for 27 to 52.
      out += static_cast<char>(line.size() <= 26 ? 'A' + line.size() - 1 : 'a' + line.size() - 27);
      for (size_t i = 0; i < line.size(); i += 4) appendGroup(out, line.substr(i, 4));
      out += '\n';
    }
    sink(out);
  });
  sink("\n");
}

}  // namespace rauha::cli
