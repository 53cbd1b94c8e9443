// Files of a tar archive, by position: one pass over the headers, then each file is read where it lies.

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/archive_error.h"
#include "plugins/image-oci/files.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/store_root.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

struct Member {
  uint64_t offset = 0, size = 0;
  std::string link;  // of a link: the member it means
};

// "./a//b" -> "a/b"; ".." is resolved lexically, as docker writes "../ID/layer.tar" into links. Empty: it leaves the archive.
std::string plainName(const std::string& base, std::string_view name) {
  std::vector<std::string_view> parts;
  const auto take = [&](std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('/', at), text.size());
      const std::string_view part = text.substr(at, end - at);
      at = end + 1;
      if (part.empty() || part == ".") continue;
      if (part != "..")
        parts.push_back(part);
      else if (parts.empty())
        return false;
      else
        parts.pop_back();
    }
    return true;
  };
  if (!take(base) || !take(name)) return {};
  std::string out;
  for (const auto part : parts) out += (out.empty() ? "" : "/") + std::string(part);
  return out;
}

std::string folderOf(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? std::string() : name.substr(0, slash);
}

class TarIndex final {
 public:
  TarIndex(int fd, uint64_t size, const Watch& watch, std::string what)
      : fd_(fd), size_(size), watch_(watch), what_(std::move(what)), buffer_(64u << 10) {}

  std::map<std::string, Member> read() {
    const ArchivePtr a = newReader(what_);
    archive_read_support_format_tar(a.get());
    archive_read_set_callback_data(a.get(), this);
    archive_read_set_read_callback(a.get(), &TarIndex::pull);
    archive_read_set_skip_callback(a.get(), &TarIndex::skip);
    if (archive_read_open1(a.get()) < ARCHIVE_WARN) throwArchive(a.get(), what_ + ": not a readable tar archive");
    std::map<std::string, Member> out;
    std::string last;  // its data lies right before the next header
    uint64_t lastSize = 0;
    for (size_t count = 0;; ++count) {
      watch_.mayGoOn();
      headBytes_ = 0;
      archive_entry* entry = nullptr;
      const int r = archive_read_next_header(a.get(), &entry);
      if (r < ARCHIVE_WARN) throwArchive(a.get(), what_ + ": not a readable tar archive");
      if (!last.empty()) settle(out[last], static_cast<uint64_t>(archive_read_header_position(a.get())), lastSize);
      last.clear();
      if (r == ARCHIVE_EOF) return out;
      if (count >= kArchiveEntriesMax)
        throw Error("image", Code::limit, what_ + ": more than " + std::to_string(kArchiveEntriesMax) + " files");
      last = note(out, entry);
      lastSize = static_cast<uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
    }
  }

 private:
  static la_ssize_t pull(archive* a, void* self, const void** block) noexcept {
    auto* t = static_cast<TarIndex*>(self);
    if (t->headBytes_ > kTarHeadMax) {  // content is skipped, not read
      archive_set_error(a, EFBIG, "the headers of an entry are larger than %zu bytes", kTarHeadMax);
      return ARCHIVE_FATAL;
    }
    const ssize_t n = pread(t->fd_, t->buffer_.data(), t->buffer_.size(), static_cast<off_t>(t->position_));
    if (n < 0) {
      archive_set_error(a, errno, "read failed");
      return ARCHIVE_FATAL;
    }
    t->position_ += static_cast<uint64_t>(n);
    t->headBytes_ += static_cast<uint64_t>(n);
    *block = t->buffer_.data();
    return n;
  }
  static la_int64_t skip(archive*, void* self, la_int64_t wanted) noexcept {
    auto* t = static_cast<TarIndex*>(self);
    const uint64_t left = t->size_ - std::min(t->position_, t->size_),
                   step = std::min(left, static_cast<uint64_t>(std::max<la_int64_t>(wanted, 0)));
    t->position_ += step;
    return static_cast<la_int64_t>(step);
  }

  // Names are kept for all entries: what no file system takes would only fill memory.
  void checkLength(const char* name) const {
    if (name != nullptr && strnlen(name, kPathMax + 1) > kPathMax)
      throw Error("image", Code::limit, what_ + ": a name is longer than " + std::to_string(kPathMax) + " bytes");
  }

  // The name of a member whose place is still to be found, else "".
  std::string note(std::map<std::string, Member>& out, archive_entry* entry) const {
    const char* path = archive_entry_pathname(entry);
    for (const char* name : {path, archive_entry_hardlink(entry), archive_entry_symlink(entry)}) checkLength(name);
    const std::string name = path == nullptr ? std::string() : plainName({}, path);
    if (name.empty()) return {};
    if (const char* hard = archive_entry_hardlink(entry)) {
      out[name] = Member{0, 0, plainName({}, hard)};
      return {};
    }
    if (archive_entry_filetype(entry) == AE_IFLNK) {
      const char* target = archive_entry_symlink(entry);
      out[name] = Member{0, 0, target == nullptr || *target == '/' ? std::string() : plainName(folderOf(name), target)};
      return {};
    }
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_sparse_count(entry) > 0) return {};
    out[name] = Member{};
    return name;
  }

  void settle(Member& member, uint64_t nextHeader, uint64_t size) const {
    const uint64_t padded = (size + 511) / 512 * 512;
    if (padded < size || padded > nextHeader) throw Error("image", Code::corrupt, what_ + ": a member's size does not fit the archive");
    member.offset = nextHeader - padded;
    member.size = size;
    if (member.offset > size_ || size > size_ - member.offset) throw Error("image", Code::corrupt, what_ + " is truncated");
  }

  int fd_;
  uint64_t size_, position_ = 0, headBytes_ = 0;
  const Watch& watch_;
  std::string what_;
  std::vector<char> buffer_;
};

class TarFiles final : public Files {
 public:
  TarFiles(UniqueFd fd, uint64_t size, const Watch& watch, std::string what) : fd_(std::move(fd)), what_(std::move(what)) {
    members_ = TarIndex(fd_.get(), size, watch, what_).read();
  }

  std::optional<OpenFile> open(const std::string& name) override {
    auto it = members_.find(plainName({}, name));
    for (int hops = 0; it != members_.end() && !it->second.link.empty(); ++hops) {
      if (hops == 8) throw Error("image", Code::invalid, what_ + ": " + toUtf8(name) + " is a chain of links");
      it = members_.find(it->second.link);
    }
    if (it == members_.end()) return std::nullopt;
    return OpenFile{streamFile(duplicate(fd_.get()), it->second.offset, it->second.size, what_ + ": " + toUtf8(name)), it->second.size, {}};
  }

 private:
  UniqueFd fd_;
  std::string what_;
  std::map<std::string, Member> members_;
};

// A compressed archive cannot be read by position: all of it goes to a file without a name first.
UniqueFd plainCopy(std::unique_ptr<ByteStream> content, const StoreRoot& store, uint64_t limit, const std::string& what, uint64_t& size) {
  std::string temporary;
  UniqueFd fd = store.newLocked(store.tmp(), "archive", temporary);
  unlinkat(store.tmp(), temporary.c_str(), 0);
  size = 0;
  for (std::string_view block; !(block = content->next()).empty();) {
    if (block.size() > limit - size) throw Error("image", Code::limit, what + ": unpacks to more than " + std::to_string(limit) + " bytes");
    size += block.size();
    while (!block.empty()) {
      const ssize_t n = write(fd.get(), block.data(), block.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throwIo("unpack " + what);
      block.remove_prefix(static_cast<size_t>(n));
    }
  }
  return fd;
}

}  // namespace

std::unique_ptr<Files> tarFiles(int fileFd, const StoreRoot& store, uint64_t limit, const Watch& watch, std::string what) {
  struct stat meta {};
  if (fstat(fileFd, &meta) != 0) throwIo("stat " + what);
  if (S_ISDIR(meta.st_mode))
    throw Error("image", Code::invalid, what + " is a directory, not an archive", "for an OCI image layout write oci:DIR");
  if (!S_ISREG(meta.st_mode)) throw Error("image", Code::invalid, what + " is not a regular file");
  uint64_t size = static_cast<uint64_t>(meta.st_size);
  UniqueFd fd = duplicate(fileFd);
  unsigned char head[4] = {};
  const ssize_t n = pread(fd.get(), head, sizeof head, 0);
  if (n < 0) throwIo("read " + what);
  if (n == 0) throw Error("image", Code::corrupt, what + " is empty");
  const bool gzip = n >= 2 && head[0] == 0x1f && head[1] == 0x8b;
  const bool zstd = n == 4 && head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd;
  if (gzip || zstd) {
    auto whole = watched(streamFile(duplicate(fd.get()), 0, size, what), watch, "unpacking " + what, size);
    fd = plainCopy(decompress(std::move(whole), what), store, limit, what, size);
  }
  return std::make_unique<TarFiles>(std::move(fd), size, watch, std::move(what));
}

}  // namespace rauha::oci
