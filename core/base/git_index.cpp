#include "core/base/git_index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>

#include "core/base/digest.h"

namespace rauha {
namespace {

constexpr size_t kMostBytes = 64 << 20;
constexpr size_t kHeader = 12;  // "DIRC", version, number of entries
constexpr size_t kStat = 40;    // of an entry, before its object id; the mode is in it
constexpr size_t kModeAt = 24;  // … here
constexpr uint16_t kExtended = 0x4000;
constexpr size_t kMostName = 4096;

// What git makes again from the rest: trees, untracked files, the file system monitor, offsets for its threads.
constexpr std::string_view kCaches[] = {"TREE", "UNTR", "FSMN", "EOIE", "IEOT"};

// Takes from the front; what is not there sets `bad`, and is zeros.
class Reader final {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  size_t left() const { return rest_.size(); }
  bool bad() const { return bad_; }
  std::string_view take(size_t size) {
    if (size > rest_.size()) return fail();
    const auto out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  // Up to a NUL, which is taken as well.
  std::string_view name() {
    const size_t end = rest_.substr(0, kMostName).find('\0');
    if (end == std::string_view::npos) return fail();
    const auto out = take(end);
    rest_.remove_prefix(1);
    return out;
  }
  uint32_t number(size_t size) {
    uint32_t out = 0;
    for (const char c : take(size)) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  // "offset encoding" of version 4.
  size_t offset() {
    size_t out = 0;
    for (int i = 0; i < 4; ++i) {
      const uint32_t byte = number(1);
      out = out << 7 | (byte & 0x7f);
      if ((byte & 0x80) == 0) return out;
      ++out;
    }
    bad_ = true;
    return 0;
  }

 private:
  std::string_view fail() {
    bad_ = true;
    rest_ = {};
    return {};
  }
  std::string_view rest_;
  bool bad_ = false;
};

class Entries final {
 public:
  Entries(std::string_view index, size_t idBytes) : index_(index), idBytes_(idBytes) {}

  std::string digest() {
    if (index_.size() < kHeader + idBytes_) return {};
    Reader in(index_.substr(0, index_.size() - idBytes_));  // the last one is the file's checksum
    if (in.take(4) != "DIRC") return {};
    version_ = in.number(4);
    const uint32_t count = in.number(4);
    if (version_ < 2 || version_ > 4) return {};
    add({});
    for (uint32_t i = 0; i < count && known_ && !in.bad(); ++i) entry(in);
    while (!in.bad() && known_ && in.left() > 0) extension(in);
    return in.bad() || !known_ ? std::string() : sha_.finish();
  }

 private:
  // With its length, so that no two sequences look alike.
  void add(std::string_view bytes) {
    const auto size = static_cast<uint64_t>(bytes.size());
    sha_.update(&size, sizeof size);
    sha_.update(bytes.data(), bytes.size());
  }

  void entry(Reader& in) {
    const size_t before = in.left();
    const auto stat = in.take(kStat);
    add(stat.substr(std::min(kModeAt, stat.size()), 4));
    add(in.take(idBytes_));
    const auto flags = in.number(2);
    const bool extended = (flags & kExtended) != 0;
    const std::string more(extended ? in.take(2) : std::string_view());
    // The name's length and whether there are more flags follow from the rest.
    const char kept[2] = {static_cast<char>(flags >> 8 & 0xb0), 0};
    add({kept, sizeof kept});
    add(more);
    if (version_ == 4) {
      const size_t drop = in.offset();
      if (drop > name_.size()) known_ = false;
      name_.resize(name_.size() - std::min(drop, name_.size()));
      name_ += in.name();
      if (name_.size() > kMostName) known_ = false;
    } else {
      name_ = in.name();
      // One NUL to eight, to a multiple of eight bytes; one was taken.
      while (!in.bad() && (before - in.left()) % 8 != 0)
        if (in.number(1) != 0) known_ = false;
    }
    if (name_.empty()) known_ = false;
    add(name_);
  }

  void extension(Reader& in) {
    const auto name = in.take(4);
    const auto bytes = in.take(in.number(4));
    if (std::find(std::begin(kCaches), std::end(kCaches), name) != std::end(kCaches)) return;
    // In small letters: not to be understood without. Of these only "sdir" (entries for whole directories) keeps all entries here.
    if (name.empty() || ((name[0] < 'A' || name[0] > 'Z') && name != "sdir")) {
      known_ = false;
      return;
    }
    add(name);
    add(bytes);
  }

  const std::string_view index_;
  const size_t idBytes_;
  Sha256 sha_;
  std::string name_;
  uint32_t version_ = 0;
  bool known_ = true;
};

}  // namespace

std::string gitIndexEntries(std::string_view index) {
  // Nothing in the file says how long an object's id is; read with the other length, it does not come to its end.
  auto out = Entries(index, 20).digest();
  return out.empty() ? Entries(index, 32).digest() : out;
}

std::string gitIndexEntries(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || static_cast<uint64_t>(st.st_size) > kMostBytes) return {};
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
