#include "plugins/image-oci/layer_unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string_view>
#include <unordered_map>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/archive_error.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr const char* kOpaqueXattr = "trusted.overlay.opaque";

// libarchive converts names to the thread's character set; in "C" it hands over what is not ASCII byte by byte, which is what we want:
// file names are bytes, and an NFD name must stay one.
class PlainLocale {
 public:
  PlainLocale() : mine_(newlocale(LC_ALL_MASK, "C", nullptr)), before_(uselocale(mine_)) {}
  ~PlainLocale() {
    uselocale(before_);
    if (mine_ != nullptr) freelocale(mine_);
  }
  PlainLocale(const PlainLocale&) = delete;
  PlainLocale& operator=(const PlainLocale&) = delete;

 private:
  locale_t mine_, before_;
};

struct Name {
  std::string parent;  // "" for the root, "a/b"
  std::string base;    // "" for the root itself
  std::string whole() const { return parent.empty() ? base : parent + "/" + base; }
};

class Unpacker {
 public:
  Unpacker(int root, const Limits& limits, const Watch& watch, std::string what)
      : root_(root), limits_(limits), watch_(watch), what_(std::move(what)) {}
  LayerFacts run(ByteStream& tar);

 private:
  static la_ssize_t pull(archive* a, void* self, const void** block) noexcept;
  void place(archive* a, archive_entry* entry);
  Name split(std::string_view path, const char* role) const;
  int parentOf(const Name& name);
  UniqueFd makeParents(const std::string& path);
  void clear(int parent, const std::string& base);
  bool makeDirectory(int parent, const std::string& base, mode_t mode);
  void whiteout(const Name& name);
  void directory(archive_entry* entry, const Name& name);
  void rootDirectory(archive_entry* entry);
  void file(archive* a, archive_entry* entry, const Name& name);
  void hardlink(const Name& name, const char* target);
  void symlink(archive_entry* entry, const Name& name);
  void fifo(archive_entry* entry, const Name& name);
  void metadataByFd(int fd, archive_entry* entry, const std::string& path);
  void xattrs(int fd, archive_entry* entry, const std::string& path);
  void times(int parent, const std::string& base, archive_entry* entry);
  void finishDirectories();
  void count();
  void addBytes(uint64_t n);
  void note(const std::string& text);
  std::string on(const std::string& path) const { return what_ + ": '" + toUtf8(path) + "'"; }
  [[noreturn]] void refuse(Code code, const std::string& path, const std::string& why, std::string hint = {}) const {
    throw Error("image", code, on(path) + ": " + why, std::move(hint));
  }

  int root_;
  const Limits& limits_;
  const Watch& watch_;
  std::string what_;
  ByteStream* tar_ = nullptr;
  std::exception_ptr failure_;
  bool inHead_ = false;  // what is read now are headers
  uint64_t headBytes_ = 0;
  LayerFacts facts_;
  // The directory that the last entry was in: most entries share it with the one before.
  std::string parentPath_;
  UniqueFd parentFd_;
  bool parentStale_ = false;
  // Directories get their times at the end, when nothing more is put into them.
  std::unordered_map<ino_t, timespec> directoryTimes_;
};

la_ssize_t Unpacker::pull(archive* a, void* self, const void** block) noexcept {
  auto* u = static_cast<Unpacker*>(self);
  try {
    if (u->inHead_ && u->headBytes_ > kTarHeadMax)
      throw Error("image", Code::limit, u->what_ + ": the headers of an entry are larger than " + std::to_string(kTarHeadMax) + " bytes");
    const std::string_view next = u->tar_->next();
    if (u->inHead_) u->headBytes_ += next.size();
    *block = next.data();
    return static_cast<la_ssize_t>(next.size());
  } catch (...) {  // no exception may pass through libarchive's frames
    u->failure_ = std::current_exception();
    archive_set_error(a, EIO, "source failed");
    return ARCHIVE_FATAL;
  }
}

LayerFacts Unpacker::run(ByteStream& tar) {
  const PlainLocale plain;
  tar_ = &tar;
  const ArchivePtr a = newReader(what_);
  archive_read_support_format_tar(a.get());
  archive_read_support_format_empty(a.get());
  const auto check = [&](int result) {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    // A warning is about a name that is not in the locale's characters (wanted, see above) or a header extension that nobody reads.
    if (result < ARCHIVE_WARN) throwArchive(a.get(), what_ + ": not a readable tar archive");
  };
  check(archive_read_open2(a.get(), this, nullptr, &Unpacker::pull, nullptr, nullptr));
  for (archive_entry* entry = nullptr;;) {
    watch_.mayGoOn();
    inHead_ = true;
    headBytes_ = 0;
    const int r = archive_read_next_header(a.get(), &entry);
    inHead_ = false;
    if (r == ARCHIVE_EOF) break;
    check(r);
    place(a.get(), entry);
    check(archive_read_data_skip(a.get()));  // content that nobody wants is no header
  }
  check(ARCHIVE_OK);
  parentFd_.reset();
  finishDirectories();
  return std::move(facts_);
}

void Unpacker::place(archive* a, archive_entry* entry) {
  const char* path = archive_entry_pathname(entry);
  if (path == nullptr || *path == '\0') throw Error("image", Code::invalid, what_ + ": an entry has no name");
  const Name name = split(path, "name");
  count();
  if (name.base.empty()) return rootDirectory(entry);
  if (name.base.compare(0, kWhiteout.size(), kWhiteout) == 0) return whiteout(name);
  if (const char* target = archive_entry_hardlink(entry)) return hardlink(name, target);
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return file(a, entry, name);
    case AE_IFDIR:
      return directory(entry, name);
    case AE_IFLNK:
      return symlink(entry, name);
    case AE_IFIFO:
      return fifo(entry, name);
    case AE_IFCHR:
    case AE_IFBLK:
      return note("device node '" + toUtf8(name.whole()) + "' left out");
    case AE_IFSOCK:
      return note("socket '" + toUtf8(name.whole()) + "' left out");
    default:
      refuse(Code::unsupported, name.whole(), "an entry of unknown type");
  }
}

// Lexical: leading '/', empty parts and '.' go; '..' is refused rather than guessed at.
Name Unpacker::split(std::string_view path, const char* role) const {
  const std::string shown(path.substr(0, 200));
  if (path.size() > kPathMax)
    refuse(Code::limit, shown + "…",
           std::string(role) + " is " + std::to_string(path.size()) + " bytes long, more than " + std::to_string(kPathMax));
  Name out;
  size_t depth = 0;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") refuse(Code::invalid, shown, std::string(role) + " holds '..'");
    if (part.size() > kNameMax)
      refuse(Code::limit, shown, "a part of the " + std::string(role) + " is longer than " + std::to_string(kNameMax) + " bytes");
    if (++depth > kDepthMax)
      refuse(Code::limit, shown, std::string(role) + " is deeper than " + std::to_string(kDepthMax) + " directories");
    if (!out.base.empty()) {
      if (out.base.compare(0, kWhiteout.size(), kWhiteout) == 0)
        refuse(Code::invalid, shown, "a directory's name starts with '.wh.', which is kept for whiteouts");
      out.parent = out.whole();
    }
    out.base = std::string(part);
  }
  return out;
}

int Unpacker::parentOf(const Name& name) {
  if (name.parent.empty()) return root_;
  if (parentFd_ && !parentStale_ && parentPath_ == name.parent) return parentFd_.get();
  UniqueFd fd(openInRoot(root_, name.parent, O_PATH | O_DIRECTORY));
  if (!fd) {
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) throwIo(on(name.parent));
    fd = makeParents(name.parent);
  }
  parentPath_ = name.parent;
  parentFd_ = std::move(fd);
  parentStale_ = false;
  return parentFd_.get();
}

UniqueFd Unpacker::makeParents(const std::string& path) {
  UniqueFd current = openChildDir(root_, ".", what_);
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string prefix = path.substr(0, end), part = path.substr(at, end - at);
    at = end + 1;
    UniqueFd next(openInRoot(root_, prefix, O_PATH | O_DIRECTORY));
    if (!next) {
      if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) throwIo(on(prefix));
      count();
      makeDirectory(current.get(), part, 0755);
      next.reset(openat(current.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next) throwIo(on(prefix));
    }
    current = std::move(next);
  }
  return current;
}

// Makes way for an entry that is no directory.
void Unpacker::clear(int parent, const std::string& base) {
  if (unlinkat(parent, base.c_str(), 0) != 0) {
    if (errno == ENOENT) return;
    removeTree(parent, base);
  }
  parentStale_ = true;  // what went may have been part of the remembered parent's path; the descriptor itself is still in use
}

// False when the directory was there already; then it is untouched. Whatever else is there is replaced.
bool Unpacker::makeDirectory(int parent, const std::string& base, mode_t mode) {
  struct stat meta {};
  bool hidesBelow = false;
  if (fstatat(parent, base.c_str(), &meta, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISDIR(meta.st_mode)) return false;
    hidesBelow = S_ISCHR(meta.st_mode);  // only whiteouts are character devices here: the new directory starts empty
    clear(parent, base);
  } else if (errno != ENOENT) {
    throwIo(on(base));
  }
  if (mkdirat(parent, base.c_str(), 0700) != 0) throwIo(on(base));
  const UniqueFd fd = openChildDir(parent, base, on(base));
  if (fchmod(fd.get(), mode) != 0 || fstat(fd.get(), &meta) != 0) throwIo(on(base));
  directoryTimes_.erase(meta.st_ino);  // the number may have been another directory's that was replaced
  if (hidesBelow && fsetxattr(fd.get(), kOpaqueXattr, "y", 1, 0) != 0) throwIo(on(base) + ": mark it opaque");
  return true;
}

void Unpacker::whiteout(const Name& name) {
  const std::string hidden = name.base.substr(kWhiteout.size());
  if (name.base == kOpaque) {
    if (name.parent.empty()) {
      facts_.opaqueRoot = true;
      return;
    }
    parentOf(name);
    const UniqueFd dir(openInRoot(root_, name.parent, O_RDONLY | O_DIRECTORY));
    if (!dir || fsetxattr(dir.get(), kOpaqueXattr, "y", 1, 0) != 0) throwIo(on(name.parent) + ": mark it opaque");
    return;
  }
  if (hidden.empty() || hidden == "." || hidden == "..")
    refuse(Code::invalid, name.whole(), "a whiteout of nothing, or of its own directory");
  if (hidden.compare(0, kWhiteout.size(), kWhiteout) == 0)
    return note("'" + toUtf8(name.whole()) + "' left out: notes of AUFS, not content");
  const int parent = parentOf(name);
  struct stat meta {};
  if (fstatat(parent, hidden.c_str(), &meta, AT_SYMLINK_NOFOLLOW) == 0) {
    // A whiteout is about the layers below: what this layer itself has stays, but a directory no longer merges with theirs.
    if (!S_ISDIR(meta.st_mode)) return;
    const UniqueFd dir = openChildDir(parent, hidden, on(name.whole()));
    if (fsetxattr(dir.get(), kOpaqueXattr, "y", 1, 0) != 0) throwIo(on(name.whole()) + ": mark it opaque");
    return;
  }
  if (mknodat(parent, hidden.c_str(), S_IFCHR, makedev(0, 0)) != 0) throwIo(on(name.whole()) + ": make the whiteout");
}

void Unpacker::directory(archive_entry* entry, const Name& name) {
  const int parent = parentOf(name);
  makeDirectory(parent, name.base, 0700);
  const UniqueFd fd = openChildDir(parent, name.base, on(name.whole()));
  metadataByFd(fd.get(), entry, name.whole());
}

void Unpacker::rootDirectory(archive_entry* entry) {
  if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry) != nullptr)
    refuse(Code::invalid, "/", "the root is not a directory");
  const UniqueFd fd = openChildDir(root_, ".", what_);
  metadataByFd(fd.get(), entry, "/");
}

void Unpacker::file(archive* a, archive_entry* entry, const Name& name) {
  const la_int64_t size = archive_entry_size(entry);
  if (size < 0) refuse(Code::invalid, name.whole(), "size " + std::to_string(size));
  addBytes(static_cast<uint64_t>(size));
  const int parent = parentOf(name);
  clear(parent, name.base);
  const UniqueFd fd(openat(parent, name.base.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throwIo(on(name.whole()));
  la_int64_t end = 0;
  for (;;) {
    const void* block = nullptr;
    size_t length = 0;
    la_int64_t offset = 0;
    const int r = archive_read_data_block(a, &block, &length, &offset);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    if (r == ARCHIVE_EOF) break;
    if (r < ARCHIVE_WARN) throwArchive(a, on(name.whole()));
    if (offset < 0 || offset > size || static_cast<la_int64_t>(length) > size - offset)
      refuse(Code::corrupt, name.whole(), "data beyond its size of " + std::to_string(size) + " bytes");
    for (const char* p = static_cast<const char*>(block); length > 0;) {
      const ssize_t n = pwrite(fd.get(), p, length, offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throwIo(on(name.whole()));
      p += n, length -= static_cast<size_t>(n), offset += n;
    }
    end = std::max(end, offset);
    watch_.mayGoOn();
  }
  if (end < size && ftruncate(fd.get(), size) != 0) throwIo(on(name.whole()));  // a hole at the end
  metadataByFd(fd.get(), entry, name.whole());
}

void Unpacker::hardlink(const Name& name, const char* target) {
  const Name from = split(target, "hard link target");
  const std::string shown = "hard link to '" + toUtf8(target) + "'";
  if (from.base.empty()) refuse(Code::invalid, name.whole(), shown + ": a directory");
  if (from.whole() == name.whole()) return;  // some tools repeat an entry as a link to itself
  const UniqueFd fromDir(openInRoot(root_, from.parent, O_PATH | O_DIRECTORY));
  struct stat meta {};
  if (!fromDir || fstatat(fromDir.get(), from.base.c_str(), &meta, AT_SYMLINK_NOFOLLOW) != 0)
    refuse(Code::invalid, name.whole(), shown + ": not in this layer");
  if (S_ISDIR(meta.st_mode) || S_ISCHR(meta.st_mode))
    refuse(Code::invalid, name.whole(), shown + (S_ISDIR(meta.st_mode) ? ": a directory" : ": not in this layer"));
  const int parent = parentOf(name);
  struct stat there {};
  if (fstatat(parent, name.base.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
    if (there.st_ino == meta.st_ino && there.st_dev == meta.st_dev) return;
    clear(parent, name.base);
  }
  // The old target's parents may have gone with what was cleared: then linkat fails, which is an error of the layer.
  if (linkat(fromDir.get(), from.base.c_str(), parent, name.base.c_str(), 0) != 0) throwIo(on(name.whole()) + ": " + shown);
}

void Unpacker::symlink(archive_entry* entry, const Name& name) {
  const char* target = archive_entry_symlink(entry);
  if (target == nullptr || *target == '\0') refuse(Code::invalid, name.whole(), "a symbolic link without a target");
  if (strlen(target) > kPathMax)
    refuse(Code::limit, name.whole(), "the link's target is longer than " + std::to_string(kPathMax) + " bytes");
  const int parent = parentOf(name);
  clear(parent, name.base);
  if (symlinkat(target, parent, name.base.c_str()) != 0) throwIo(on(name.whole()));
  times(parent, name.base, entry);
}

void Unpacker::fifo(archive_entry* entry, const Name& name) {
  const int parent = parentOf(name);
  clear(parent, name.base);
  if (mkfifoat(parent, name.base.c_str(), 0600) != 0) throwIo(on(name.whole()));
  times(parent, name.base, entry);
  if (fchmodat(parent, name.base.c_str(), archive_entry_perm(entry) & 07777, 0) != 0) throwIo(on(name.whole()));
}

namespace {
timespec modified(archive_entry* entry) {
  return archive_entry_mtime_is_set(entry) != 0 ? timespec{archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)} : timespec{0, 0};
}
timespec accessed(archive_entry* entry) {
  return archive_entry_atime_is_set(entry) != 0 ? timespec{archive_entry_atime(entry), archive_entry_atime_nsec(entry)} : modified(entry);
}
void checkOwner(archive_entry* entry, const std::string& what) {
  const la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  for (const la_int64_t id : {uid, gid})
    if (id < 0 || id > kIdMax)
      throw Error("image", Code::limit,
                  what + ": owner " + std::to_string(uid) + ":" + std::to_string(gid) + " is beyond " + std::to_string(kIdMax) +
                      ", the largest id a zone has",
                  "build the image with owners of 0 to 65535");
}
}  // namespace

// For what has no descriptor of its own: owner and times of the thing itself, never of what a link leads to.
void Unpacker::times(int parent, const std::string& base, archive_entry* entry) {
  checkOwner(entry, on(base));
  if (fchownat(parent, base.c_str(), static_cast<uid_t>(archive_entry_uid(entry)), static_cast<gid_t>(archive_entry_gid(entry)),
               AT_SYMLINK_NOFOLLOW) != 0)
    throwIo(on(base));
  const timespec both[2] = {accessed(entry), modified(entry)};
  if (utimensat(parent, base.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0) throwIo(on(base));
  if (archive_entry_xattr_count(entry) > 0) note("xattrs of '" + toUtf8(base) + "' left out: neither file nor directory");
}

// Order: owner (clears set-id bits and capabilities), mode, xattrs, times.
void Unpacker::metadataByFd(int fd, archive_entry* entry, const std::string& path) {
  checkOwner(entry, on(path));
  if (fchown(fd, static_cast<uid_t>(archive_entry_uid(entry)), static_cast<gid_t>(archive_entry_gid(entry))) != 0)
    throwIo(on(path) + ": set the owner");
  if (fchmod(fd, archive_entry_perm(entry) & 07777) != 0) throwIo(on(path) + ": set the mode");
  xattrs(fd, entry, path);
  struct stat meta {};
  if (fstat(fd, &meta) != 0) throwIo(on(path));
  if (S_ISDIR(meta.st_mode)) {
    directoryTimes_[meta.st_ino] = modified(entry);
    return;
  }
  const timespec both[2] = {accessed(entry), modified(entry)};
  if (futimens(fd, both) != 0) throwIo(on(path) + ": set the times");
}

void Unpacker::xattrs(int fd, archive_entry* entry, const std::string& path) {
  if (static_cast<size_t>(archive_entry_xattr_count(entry)) > kXattrsPerEntryMax)
    refuse(Code::limit, path, "more than " + std::to_string(kXattrsPerEntryMax) + " xattrs");
  archive_entry_xattr_reset(entry);
  const char* key = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
    const std::string_view k = key == nullptr ? "" : key;
    const std::string about = "xattr '" + toUtf8(k.substr(0, 64)) + "'";
    if (k.size() > kXattrNameMax)
      refuse(Code::limit, path, about + ": its name is longer than " + std::to_string(kXattrNameMax) + " bytes");
    if (size > kXattrValueMax)
      refuse(Code::limit, path, about + ": " + std::to_string(size) + " bytes, more than " + std::to_string(kXattrValueMax));
    // Version 3 of a capability names a user namespace's root by a host id, which is never a zone's.
    const bool capability = k == "security.capability" && size == 20;
    const bool user = k.substr(0, 5) == "user." && k.size() > 5 && k.substr(0, 13) != "user.overlay.";
    if (!capability && !user) {
      note(about + " of '" + toUtf8(path) + "' left out");
      continue;
    }
    if (fsetxattr(fd, key, value, size, 0) == 0) continue;
    if (errno == EOPNOTSUPP) {
      note(about + " of '" + toUtf8(path) + "' left out: the file system does not keep it");
      continue;
    }
    if (errno == ENOSPC || errno == E2BIG || errno == ERANGE)
      refuse(Code::limit, path,
             about + " of " + std::to_string(size) + " bytes does not fit on the store's file system (or its disk is full)");
    throwIo(on(path) + ": " + about);
  }
}

void Unpacker::finishDirectories() {
  forEachDir(root_, [&](int fd, const struct stat& meta) {
    watch_.mayGoOn();
    const auto it = directoryTimes_.find(meta.st_ino);
    const timespec when = it == directoryTimes_.end()
                              ? timespec{0, 0}
                              : it->second;  // implied directories: a fixed time, so that a layer unpacks the same twice
    const timespec both[2] = {when, when};
    if (futimens(fd, both) != 0) throwIo(what_ + ": set a directory's times");
  });
}

void Unpacker::count() {
  if (++facts_.entries > limits_.entriesMax)
    throw Error("image", Code::limit, what_ + ": more than " + std::to_string(limits_.entriesMax) + " entries",
                "raise entries_max of the image plugin if the image is trusted");
}

void Unpacker::addBytes(uint64_t n) {
  if (n > limits_.layerBytesMax || facts_.bytes > limits_.layerBytesMax - n)
    throw Error("image", Code::limit, what_ + ": unpacks to more than " + std::to_string(limits_.layerBytesMax) + " bytes",
                "raise layer_bytes_max of the image plugin if the image is trusted");
  facts_.bytes += n;
}

void Unpacker::note(const std::string& text) {
  if (facts_.notes.size() < kNotesMax)
    facts_.notes.push_back(text);
  else
    ++facts_.notesDropped;
}

}  // namespace

LayerFacts unpackLayer(ByteStream& tar, int rootFd, const Limits& limits, const Watch& watch, const std::string& what) {
  return Unpacker(rootFd, limits, watch, what).run(tar);
}

}  // namespace rauha::oci
