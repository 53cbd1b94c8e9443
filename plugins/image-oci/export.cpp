#include "plugins/image-oci/export.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/stream.h"

namespace rauha::oci {
namespace {

constexpr size_t kTarBlock = 512;
constexpr int kPollMs = 1000;  // between two looks at the call's deadline

// The fields of a ustar header (POSIX.1-1988) that we use.
constexpr size_t kMode = 100, kUid = 108, kGid = 116, kSize = 124, kTime = 136, kSum = 148, kType = 156, kMagic = 257;

void octal(std::array<char, kTarBlock>& header, size_t at, size_t width, uint64_t value) {
  for (size_t i = width - 1; i-- > 0; value /= 8) header[at + i] = static_cast<char>('0' + value % 8);
}

std::array<char, kTarBlock> headerOf(const std::string& name, uint64_t size) {
  std::array<char, kTarBlock> out{};
  memcpy(out.data(), name.data(), std::min<size_t>(name.size(), 99));
  octal(out, kMode, 8, 0644);
  octal(out, kUid, 8, 0);
  octal(out, kGid, 8, 0);
  octal(out, kTime, 12, 0);
  if (size < uint64_t{1} << 33) {
    octal(out, kSize, 12, size);
  } else {  // base 256, as GNU, libarchive and Go write it
    out[kSize] = '\x80';
    for (size_t i = 11; i > 3; --i, size >>= 8) out[kSize + i] = static_cast<char>(size & 0xff);
  }
  out[kType] = '0';
  memcpy(&out[kMagic], "ustar\00000", 8);
  memset(&out[kSum], ' ', 8);
  unsigned sum = 0;
  for (char c : out) sum += static_cast<unsigned char>(c);
  octal(out, kSum, 7, sum);
  return out;
}

class ArchiveWriter final {
 public:
  explicit ArchiveWriter(SocketTarget& target) : target_(target) {}
  void begin(const std::string& name, uint64_t size) {
    const auto header = headerOf(name, size);
    target_.write({header.data(), header.size()});
    size_ = size;
  }
  void data(std::string_view bytes) { target_.write(bytes); }
  void end() {
    static constexpr std::array<char, kTarBlock> kZeros{};
    target_.write({kZeros.data(), (kTarBlock - size_ % kTarBlock) % kTarBlock});
  }
  void file(const std::string& name, std::string_view content) {
    begin(name, content.size());
    data(content);
    end();
  }
  void finish() {
    static constexpr std::array<char, 2 * kTarBlock> kZeros{};
    target_.write({kZeros.data(), kZeros.size()});
  }

 private:
  SocketTarget& target_;
  uint64_t size_ = 0;
};

std::string indexOf(const ExportImage& image) {
  nlohmann::ordered_json entry = {
      {"mediaType", image.manifest.mediaType}, {"digest", image.manifest.digest}, {"size", image.manifest.size}};
  if (!image.platform.architecture.empty() && !image.platform.os.empty()) {
    entry["platform"] = {{"architecture", image.platform.architecture}, {"os", image.platform.os}};
    if (!image.platform.variant.empty()) entry["platform"]["variant"] = image.platform.variant;
  }
  if (!image.tag.empty()) entry["annotations"]["org.opencontainers.image.ref.name"] = image.tag;
  if (!image.name.empty()) entry["annotations"]["io.containerd.image.name"] = image.name;
  nlohmann::ordered_json index = {{"schemaVersion", 2}, {"mediaType", "application/vnd.oci.image.index.v1+json"}};
  index["manifests"] = nlohmann::ordered_json::array({entry});
  return index.dump();
}

void writeBlob(const ExportImage& image, const Descriptor& blob, const BlobStore& store, ArchiveWriter& out, const Watch& watch) {
  const std::string what = image.what + ": blob " + blob.digest;
  std::optional<OpenFile> file = store.open(blob.digest);
  if (!file) throw Error("image", Code::notFound, what + " is not in the store any more");
  checkSize(what + " in the store", blob.size, file->size);
  out.begin("blobs/sha256/" + hexOf(blob.digest), blob.size);
  DigestStream bytes(watched(std::move(file->stream), watch, "blob " + blob.digest, blob.size), blob.size, what);
  for (std::string_view block; !(block = bytes.next()).empty();) out.data(block);
  checkDigest(what + " in the store", blob.digest, bytes.finish());
  out.end();
}

}  // namespace

SocketTarget::SocketTarget(int socket, const Watch& watch, int stallMs) : socket_(socket), watch_(watch), stallMs_(stallMs) {
  int type = 0;
  socklen_t size = sizeof type;
  if (socket < 0 || getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    throw Error("image", Code::invalid, "the export's target is no stream socket",
                "whoever asks passes one end of a socket pair and writes what comes out of the other with its own rights");
}

void SocketTarget::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      waitForRoom();
    } else if (n < 0 && errno != EINTR) {
      throw Error("image", Code::io, std::string("the export's receiver is gone: ") + strerror(errno),
                  "its own error says why; nothing of the archive is valid");
    }
  }
}

void SocketTarget::waitForRoom() {
  const int64_t until = monotonicNs() + int64_t{stallMs_} * 1'000'000;
  for (;;) {
    watch_.mayGoOn();
    const int64_t left = (until - monotonicNs()) / 1'000'000;
    if (left <= 0)
      throw Error("image", Code::deadline, "the export's receiver took no byte for " + std::to_string(stallMs_ / 1000) + " s",
                  "run the export again, to a place that can be written");
    std::array<pollfd, 2> fds = {pollfd{socket_, POLLOUT, 0}, pollfd{watch_.cancelFd, POLLIN, 0}};
    const int n = poll(fds.data(), fds.size(), static_cast<int>(std::min<int64_t>(left, kPollMs)));
    if (n > 0 && fds[0].revents != 0) return;
    if (n > 0 && fds[1].revents != 0) {
      watch_.mayGoOn();
      throw Error("image", Code::cancelled, "the export was cancelled");
    }
  }
}

void writeOciArchive(const ExportImage& image, const BlobStore& store, SocketTarget& target, const Watch& watch) {
  ArchiveWriter out(target);
  out.file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  out.file("index.json", indexOf(image));
  for (const Descriptor& blob : image.blobs) writeBlob(image, blob, store, out, watch);
  out.finish();
}

}  // namespace rauha::oci
