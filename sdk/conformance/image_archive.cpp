#include "image_archive.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <stdexcept>

#include "driver.h"
#include "sample_image.h"

namespace rauha::conformance {
namespace {

constexpr size_t kBlock = 512;
const std::string kBlobs = "blobs/sha256/";

struct Member {
  std::string name, content;
};

// Octal, or base 256 behind a first byte of 0x80. -1: neither.
int64_t numberOf(const std::string& field) {
  int64_t out = 0;
  if (static_cast<unsigned char>(field[0]) == 0x80) {
    for (size_t i = field.size() - 7; i < field.size(); ++i) out = out * 256 + static_cast<unsigned char>(field[i]);
    return out;
  }
  for (const char c : field) {
    if (c == '\0' || c == ' ') break;
    if (c < '0' || c > '7') return -1;
    out = out * 8 + (c - '0');
  }
  return out;
}

// Takes the next member off `at`; returns what is wrong.
std::string takeMember(const std::string& bytes, size_t& at, Member& out) {
  const std::string header = bytes.substr(at, kBlock);
  int64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  if (numberOf(header.substr(148, 8)) != sum) return "a header with a wrong checksum at byte " + std::to_string(at);
  out.name = header.substr(0, std::min<size_t>(header.find('\0'), 100));
  if (header[156] != '0') return inQuotes(out.name) + " is no regular file";
  const int64_t size = numberOf(header.substr(124, 12));
  const size_t left = bytes.size() - at - kBlock;
  if (size < 0 || static_cast<uint64_t>(size) > left) return inQuotes(out.name) + " is cut off";
  const auto length = static_cast<size_t>(size), padded = (length + kBlock - 1) / kBlock * kBlock;
  if (padded > left) return inQuotes(out.name) + " is cut off";
  out.content = bytes.substr(at + kBlock, length);
  at += kBlock + padded;
  return {};
}

std::string wrongMember(const Member& m) {
  if (m.name == "oci-layout") return m.content.find("\"imageLayoutVersion\"") == std::string::npos ? "oci-layout says no version" : "";
  if (m.name == "index.json") return {};
  if (m.name.compare(0, kBlobs.size(), kBlobs) != 0) return inQuotes(m.name) + " does not belong into a layout";
  return sha256Hex(m.content) == m.name.substr(kBlobs.size()) ? "" : inQuotes(m.name) + " does not have its digest";
}

}  // namespace

ArchiveReceiver::ArchiveReceiver(bool deaf) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("cannot make a socket pair");
  mine_ = ends[0];
  theirs_ = ends[1];
  const int small = 4096;  // so that a deaf receiver is noticed
  ::setsockopt(theirs_, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  if (deaf) return;
  thread_ = std::thread([this] {
    char block[65536];
    for (ssize_t n; (n = ::recv(mine_, block, sizeof block, 0)) > 0;) bytes_.append(block, static_cast<size_t>(n));
  });
}

ArchiveReceiver::~ArchiveReceiver() {
  hangUp();
  if (thread_.joinable()) thread_.join();
  if (theirs_ >= 0) ::close(theirs_);
  ::close(mine_);
}

bool ArchiveReceiver::targetIsOpen() const noexcept { return ::fcntl(theirs_, F_GETFD) >= 0; }

void ArchiveReceiver::hangUp() { ::shutdown(mine_, SHUT_RDWR); }

std::string ArchiveReceiver::finish() {
  ::close(theirs_);
  theirs_ = -1;
  if (thread_.joinable()) thread_.join();
  return bytes_;
}

std::string wrongArchive(const std::string& bytes, const std::string& manifest) {
  if (bytes.size() % kBlock != 0) return "the archive is " + std::to_string(bytes.size()) + " bytes, no multiple of 512";
  std::set<std::string> names;
  std::string index;
  size_t at = 0;
  while (at < bytes.size() && bytes[at] != '\0') {
    Member m;
    if (std::string wrong = takeMember(bytes, at, m); !wrong.empty()) return wrong;
    if (std::string wrong = wrongMember(m); !wrong.empty()) return wrong;
    if (!names.insert(m.name).second) return inQuotes(m.name) + " is there twice";
    if (m.name == "index.json") index = m.content;
  }
  if (bytes.size() - at < 2 * kBlock || bytes.find_first_not_of('\0', at) != std::string::npos) return "the archive has no end";
  for (const char* needed : {"oci-layout", "index.json"})
    if (names.count(needed) == 0) return std::string("the archive has no ") + needed;
  if (manifest.empty()) return {};
  if (index.find(manifest) == std::string::npos) return "index.json does not name the manifest " + manifest;
  return names.count(kBlobs + manifest.substr(manifest.find(':') + 1)) > 0 ? "" : "the archive has no manifest";
}

}  // namespace rauha::conformance
