#include "core/changes/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/acl.h"
#include "core/base/error.h"
#include "core/base/utf8.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr size_t kXattrBytes = 65536;  // the kernel's limit of a list and of a value
constexpr std::string_view kOverlay = "trusted.overlay.";

bool vanished(int error) noexcept { return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE; }

// The host's access times stay as they are where we may leave them.
UniqueFd openNoTime(int directory, const char* name, int flags) {
  UniqueFd fd(openat(directory, name, flags | O_NOATIME));
  if (!fd && errno == EPERM) fd = UniqueFd(openat(directory, name, flags));
  return fd;
}

// The attributes of one entry, without opening it. Linux 6.13 has calls for that; before, the descriptor's link in /proc stands for the
// directory. `name` is one component that is not followed.
class EntryAttributes final {
 public:
  EntryAttributes(int directory, const std::string& name) : directory_(directory), name_(name) {}
  std::string list() const {
    return grown([this](char* out, size_t size) { return listInto(out, size); }, "list the attributes");
  }
  std::string value(const std::string& key) const {
    return grown([&](char* out, size_t size) { return valueInto(key.c_str(), out, size); }, "read attribute " + key);
  }

 private:
  // <linux/xattr.h> of 6.13.
  struct Arguments {
    alignas(8) uint64_t value;
    uint32_t size, flags;
  };
  static constexpr long kGetxattrat = 464, kListxattrat = 465;

  // "" when there is nothing (any more).
  template <typename Read>
  std::string grown(const Read& read, const std::string& what) const {
    char small[1024];
    ssize_t n = read(small, sizeof small);
    if (n >= 0) return {small, static_cast<size_t>(n)};
    std::string out;
    if (errno == ERANGE) {
      out.resize(kXattrBytes);
      n = read(out.data(), out.size());
      if (n >= 0) out.resize(static_cast<size_t>(n));
    }
    if (n < 0 && errno != ENODATA && errno != ENOTSUP && !vanished(errno)) throwErrno(kClass, toUtf8(what + " of " + name_));
    if (n < 0) return {};
    out.shrink_to_fit();
    return out;
  }
  ssize_t listInto(char* out, size_t size) const {
    if (!haveCalls()) return llistxattr(path().c_str(), out, size);
    return syscall(kListxattrat, directory_, name_.c_str(), AT_SYMLINK_NOFOLLOW, out, size);
  }
  ssize_t valueInto(const char* key, char* out, size_t size) const {
    if (!haveCalls()) return lgetxattr(path().c_str(), key, out, size);
    const Arguments arguments{reinterpret_cast<uint64_t>(out), static_cast<uint32_t>(size), 0};
    return syscall(kGetxattrat, directory_, name_.c_str(), AT_SYMLINK_NOFOLLOW, key, &arguments, sizeof arguments);
  }
  static bool haveCalls() {
    static const bool out = syscall(kListxattrat, -1, "name", 0, nullptr, size_t{0}) < 0 && errno == EBADF;
    return out;
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(directory_) + "/" + name_; }

  const int directory_;
  const std::string& name_;
};

// struct vfs_ns_cap_data (revision 3) without its last word, the id of the namespace's root, is struct vfs_cap_data (revision 2).
std::string normalCapability(std::string bytes, uint32_t root) {
  if (bytes.size() != 24) return bytes;
  uint32_t magic, owner;
  memcpy(&magic, bytes.data(), 4);
  memcpy(&owner, bytes.data() + 20, 4);
  if (magic >> 24 != 3 || owner != root) return bytes;
  magic = (magic & 0x00FFFFFF) | 0x02000000;
  memcpy(bytes.data(), &magic, 4);
  bytes.resize(20);
  return bytes;
}

// Its values are read where they matter: one call less for each file that the task wrote.
void readOverlay(Attributes& out, const std::string& key, const EntryAttributes& entry, bool isDirectory) {
  const std::string_view name = std::string_view(key).substr(kOverlay.size());
  if (name == "opaque") {
    const std::string content = entry.value(key);
    // 'x': only says that whiteouts below may be empty files with an attribute, which are understood anyway.
    out.opaque = content == "y";
    if (content != "y" && content != "x") out.notUnderstood = key;
  } else if (name == "whiteout") {
    out.whiteout = true;
  } else if (name == "origin") {
    out.copiedUp = true;
    if (isDirectory) out.origin = entry.value(key);
  } else if (name != "impure" && name != "nlink" && name != "uuid" && name != "protattr") {
    out.notUnderstood = key;
  }
}

}  // namespace

std::optional<struct stat> lookup(int directory, const char* name) {
  struct stat st;
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0) return st;
  if (vanished(errno)) return std::nullopt;
  throwErrno(kClass, "stat " + toUtf8(name));
}

std::string unsortedNames(int directory) {
  // A descriptor of its own: reading moves its position.
  UniqueFd own = openNoTime(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!own && vanished(errno)) return {};
  if (!own) throwErrno(kClass, "open a directory");
  std::string out;
  alignas(struct dirent64) char buffer[32768];
  for (;;) {
    const ssize_t n = getdents64(own.get(), buffer, sizeof buffer);
    if (n < 0 && vanished(errno)) break;
    if (n < 0) throwErrno(kClass, "read a directory");
    if (n == 0) break;
    for (ssize_t at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const struct dirent64*>(buffer + at);
      at += entry->d_reclen;
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) out.append(entry->d_name, strlen(entry->d_name) + 1);
    }
  }
  return out;
}

std::vector<std::string> names(int directory) {
  const std::string all = unsortedNames(directory);
  std::vector<std::string> out;
  for (size_t at = 0; at < all.size(); at += out.back().size() + 1) out.emplace_back(all.c_str() + at);
  std::sort(out.begin(), out.end());
  return out;
}

UniqueFd openDirectory(int directory, const std::string& name) {
  UniqueFd fd = openNoTime(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (!fd && !vanished(errno)) throwErrno(kClass, "open directory " + toUtf8(name));
  return fd;
}

UniqueFd openRegular(int directory, const std::string& name) {
  // O_NONBLOCK: should it have become a FIFO meanwhile, the open must not wait for a writer.
  UniqueFd fd = openNoTime(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (!fd && (vanished(errno) || errno == ENXIO || errno == ENODEV)) return {};
  if (!fd) throwErrno(kClass, "open " + toUtf8(name));
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) throwErrno(kClass, "stat " + toUtf8(name));
  return S_ISREG(st.st_mode) ? std::move(fd) : UniqueFd();
}

UniqueFd openRegularBeneath(int directory, const std::string& path) {
  struct open_how how {};
  how.flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  return fd;
}

UniqueFd openDirectoryBeneath(int directory, const std::string& path) {
  struct open_how how {};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
}

std::string readLink(int directory, const std::string& name) {
  std::string out(4097, '\0');
  const ssize_t n = readlinkat(directory, name.c_str(), out.data(), out.size());
  if (n < 0 && (vanished(errno) || errno == EINVAL)) return {};
  if (n < 0) throwErrno(kClass, "read link " + toUtf8(name));
  out.resize(static_cast<size_t>(n));
  return out;
}

Attributes readAttributes(int directory, const std::string& name, const struct stat& st, uint32_t capabilityRoot) {
  Attributes out;
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return out;
  const EntryAttributes entry(directory, name);
  const std::string list = entry.list();
  for (size_t at = 0; at < list.size();) {
    const std::string key(list.c_str() + at);
    at += key.size() + 1;
    if (key.starts_with("user."))
      out.visible.emplace_back(key, entry.value(key));
    else if (key == "security.capability")
      out.visible.emplace_back(key, normalCapability(entry.value(key), capabilityRoot));
    else if (isAcl(key))
      out.acls.emplace_back(key, entry.value(key));
    else if (key.starts_with(kOverlay))
      readOverlay(out, key, entry, S_ISDIR(st.st_mode));
  }
  std::sort(out.visible.begin(), out.visible.end());
  std::sort(out.acls.begin(), out.acls.end());
  return out;
}

bool isOrigin(const std::string& origin, int directory) {
  // version, magic, length, flags, type, the file system's UUID; then the handle as the file system made it
  constexpr size_t kMagicAt = 1, kTypeAt = 4, kHandleAt = 21;
  if (origin.size() <= kHandleAt || static_cast<unsigned char>(origin[kMagicAt]) != 0xfb) return false;
  alignas(struct file_handle) char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ] = {};
  auto* handle = reinterpret_cast<struct file_handle*>(bytes);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (name_to_handle_at(directory, "", handle, &mount, AT_EMPTY_PATH) != 0) return false;
  const std::string_view own(bytes + sizeof(struct file_handle), handle->handle_bytes);
  return handle->handle_type == static_cast<unsigned char>(origin[kTypeAt]) && std::string_view(origin).substr(kHandleAt) == own;
}

void removeTree(int directory, const std::string& name) {
  if (unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) throwErrno(kClass, "remove " + toUtf8(name));
  if (UniqueFd inner = openDirectory(directory, name))
    for (const auto& entry : names(inner.get())) removeTree(inner.get(), entry);
  if (unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) throwErrno(kClass, "remove " + toUtf8(name));
}

FileType typeOf(const struct stat& st) noexcept {
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
      return FileType::regular;
    case S_IFDIR:
      return FileType::directory;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFIFO:
      return FileType::fifo;
    case S_IFSOCK:
      return FileType::socket;
    case S_IFCHR:
      return FileType::characterDevice;
    case S_IFBLK:
      return FileType::blockDevice;
    default:
      return FileType::none;
  }
}

int64_t nanoseconds(const struct timespec& t) noexcept { return t.tv_sec * 1'000'000'000LL + t.tv_nsec; }

FileState stateOf(const struct stat& st, uint32_t uid, uint32_t gid) {
  FileState out;
  out.type = typeOf(st);
  out.mode = static_cast<uint16_t>(st.st_mode & 07777);
  out.uid = uid;
  out.gid = gid;
  if (out.type == FileType::regular || out.type == FileType::symlink) out.size = static_cast<uint64_t>(st.st_size);
  out.mtimeNs = nanoseconds(st.st_mtim);
  return out;
}

}  // namespace rauha::changes
