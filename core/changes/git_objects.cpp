#include "core/changes/git_objects.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "core/base/ascii_case.h"
#include "core/changes/git_hash.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

constexpr size_t kChunk = 64 << 10;

bool isHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (asciiLower(c) >= 'a' && asciiLower(c) <= 'f'); });
}

// "ab/cdef…" -> the id in small letters; empty: git does not read it as an object.
std::string idOf(std::string_view inner) {
  if (inner.size() < 3 || inner[2] != '/') return {};
  std::string out(inner.substr(0, 2));
  out += inner.substr(3);
  if ((out.size() != 2 * kSha1Bytes && out.size() != 2 * kSha256Bytes) || !isHex(out)) return {};
  std::transform(out.begin(), out.end(), out.begin(), asciiLower);
  return out;
}

std::string hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes) out += {digits[byte >> 4], digits[byte & 15]};
  return out;
}

// What a loose object is: one zlib stream.
class Inflater final {
 public:
  Inflater() { ready_ = inflateInit(&stream_) == Z_OK; }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  // Gives what comes out to `sink`, which says whether to go on. False: it is no such stream, or its end did not come.
  template <typename Sink>
  bool run(int fd, Sink sink) {
    const auto in = std::make_unique<unsigned char[]>(kChunk), out = std::make_unique<unsigned char[]>(kChunk);
    off_t at = 0;
    for (int state = Z_OK; ready_ && state != Z_STREAM_END;) {
      if (stream_.avail_in == 0) {
        const ssize_t n = pread(fd, in.get(), kChunk, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        stream_.next_in = in.get();
        stream_.avail_in = static_cast<unsigned>(n);
      }
      stream_.next_out = out.get();
      stream_.avail_out = kChunk;
      state = inflate(&stream_, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END) return false;
      if (!sink(std::string_view(reinterpret_cast<const char*>(out.get()), kChunk - stream_.avail_out))) return false;
    }
    return ready_;
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::string_view ObjectCheck::reason(const Change& change, std::string_view inner) {
  if (change.kind == Kind::deleted) return "git object removed";
  if (change.after.type == FileType::directory && change.kind != Kind::typeChanged) return {};
  if (change.after.type != FileType::regular && change.after.type != FileType::directory) return "link or special file among git's objects";
  if (change.kind == Kind::typeChanged || (change.kind == Kind::modified && (change.fields & kContent) != 0)) return "git object replaced";
  return change.kind == Kind::modified ? std::string_view() : added(change, inner);
}

std::string_view ObjectCheck::added(const Change& change, std::string_view inner) {
  const auto below = [&](std::string_view directory) {
    return inner.size() > directory.size() && sameButCase(inner.substr(0, directory.size()), directory);
  };
  if (below("pack/")) return "git pack";
  if (below("info/")) return sameButCase(inner, "info/packs") ? std::string_view() : "git object store";
  const std::string id = idOf(inner);
  bool unread = false;
  if (id.empty() || isWhatItsNameSays(change.path, id, unread)) return {};
  return unread ? "git object that was not checked" : "git object under a wrong name";
}

bool ObjectCheck::isWhatItsNameSays(const std::string& path, std::string_view id, bool& unread) {
  const UniqueFd fd = openRegularBeneath(layer_, path);
  if (!fd) {
    unread = true;
    return false;
  }
  GitHash hash(id.size() / 2);
  const auto sink = [&](std::string_view bytes) {
    unread = bytes.size() > left_;
    if (unread) return false;
    left_ -= bytes.size();
    hash.update(bytes);
    return true;
  };
  return Inflater().run(fd.get(), sink) && hex(hash.finish()) == id;
}

}  // namespace rauha::changes
