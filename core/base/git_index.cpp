#include "core/base/git_index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "core/base/byte_reader.h"
#include "core/base/digest.h"

namespace rauha {
namespace {

constexpr size_t kHeader = 12;  // "DIRC", version, number of entries
constexpr size_t kStat = 40;    // of an entry, before its object id; the mode is in it
constexpr size_t kModeAt = 24;  // … here
constexpr size_t kMostName = 4096;
constexpr size_t kMostNames = 4 * kMostGitIndexBytes;  // bytes: version 4 has only the ends of its names in the file

// What git makes again from the rest: trees, untracked files, the file system monitor, offsets for its threads.
constexpr std::string_view kCaches[] = {"TREE", "UNTR", "FSMN", "EOIE", "IEOT"};

// "offset encoding" of version 4.
size_t offset(ByteReader& in) {
  size_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t byte = in.number(1);
    out = out << 7 | (byte & 0x7f);
    if ((byte & 0x80) == 0) return out;
    ++out;
  }
  in.fail();
  return 0;
}

class Reading final {
 public:
  // The last bytes are the file's checksum.
  Reading(std::string_view index, size_t idBytes, GitIndexVisitor& visitor)
      : in_(index.substr(0, index.size() - idBytes)), idBytes_(idBytes), visitor_(visitor) {}

  bool all() {
    if (in_.take(4) != "DIRC") return false;
    version_ = in_.number(4);
    const uint32_t count = in_.number(4);
    if (version_ < 2 || version_ > 4) return false;
    for (uint32_t i = 0; i < count; ++i)
      if (!entry()) return false;
    while (in_.left() > 0)
      if (!extension()) return false;
    return !in_.bad();
  }

 private:
  bool entry() {
    GitIndexEntry out;
    out.start = in_.at();
    ByteReader stat(in_.take(kStat));
    stat.take(kModeAt);
    out.mode = stat.number(4);
    out.id = in_.take(idBytes_);
    out.flags = static_cast<uint16_t>(in_.number(2));
    if ((out.flags & GitIndexEntry::kExtended) != 0) out.more = static_cast<uint16_t>(in_.number(2));
    if (!(version_ == 4 ? shortenedName() : paddedName(out.start)) || in_.bad()) return false;
    out.name = name_;
    names_ += name_.size();
    return !name_.empty() && name_.size() <= kMostName && names_ <= kMostNames && visitor_.entry(out);
  }

  bool shortenedName() {
    const size_t drop = offset(in_);
    if (in_.bad() || drop > name_.size()) return false;
    name_.resize(name_.size() - drop);
    name_ += in_.until('\0', kMostName);
    return true;
  }

  // One NUL to eight, to a multiple of eight bytes.
  bool paddedName(size_t start) {
    name_ = in_.until('\0', kMostName);
    while (!in_.bad() && (in_.at() - start) % 8 != 0)
      if (in_.number(1) != 0) return false;
    return true;
  }

  bool extension() {
    const size_t at = in_.at();
    const auto name = in_.take(4);
    const auto bytes = in_.take(in_.number(4));
    if (in_.bad()) return false;
    // In small letters: not to be understood without. "link" keeps entries in another file; "sdir" only says that some are directories.
    if ((name[0] < 'A' || name[0] > 'Z') && name != "sdir") return false;
    return visitor_.extension(name, bytes, at);
  }

  ByteReader in_;
  const size_t idBytes_;
  GitIndexVisitor& visitor_;
  std::string name_;
  size_t names_ = 0;  // bytes of all until now
  uint32_t version_ = 0;
};

class Digesting final : public GitIndexVisitor {
 public:
  Digesting() { add({}); }
  bool entry(const GitIndexEntry& e) override {
    number(e.mode, 4);
    add(e.id);
    // The name's length and whether there are more flags follow from the rest.
    number(static_cast<uint32_t>(e.flags & (GitIndexEntry::kAssumeValid | GitIndexEntry::kStage)), 2);
    if ((e.flags & GitIndexEntry::kExtended) != 0)
      number(e.more, 2);
    else
      add({});
    add(e.name);
    return true;
  }
  bool extension(std::string_view name, std::string_view bytes, size_t) override {
    if (std::find(std::begin(kCaches), std::end(kCaches), name) != std::end(kCaches)) return true;
    add(name);
    add(bytes);
    return true;
  }
  std::string finish() { return sha_.finish(); }

 private:
  // With its length, so that no two sequences look alike.
  void add(std::string_view bytes) {
    const auto size = static_cast<uint64_t>(bytes.size());
    sha_.update(&size, sizeof size);
    sha_.update(bytes.data(), bytes.size());
  }
  void number(uint32_t value, size_t size) {
    char bytes[4];
    for (size_t i = size; i-- > 0; value >>= 8) bytes[i] = static_cast<char>(value);
    add({bytes, size});
  }

  Sha256 sha_;
};

std::string digestOf(std::string_view index, size_t idBytes) {
  Digesting digesting;
  return readGitIndex(index, idBytes, digesting) ? digesting.finish() : std::string();
}

}  // namespace

bool readGitIndex(std::string_view index, size_t idBytes, GitIndexVisitor& visitor) {
  if (index.size() < kHeader + idBytes || index.size() > kMostGitIndexBytes) return false;
  return Reading(index, idBytes, visitor).all();
}

std::string gitIndexEntries(std::string_view index) {
  // Nothing in the file says how long an object's id is; read with the other length, it does not come to its end.
  auto out = digestOf(index, 20);
  return out.empty() ? digestOf(index, 32) : out;
}

std::string gitIndexEntries(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || static_cast<uint64_t>(st.st_size) > kMostGitIndexBytes) return {};
  std::string bytes(static_cast<size_t>(st.st_size), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    at += static_cast<size_t>(n);
  }
  return gitIndexEntries(std::string_view(bytes));
}

}  // namespace rauha
