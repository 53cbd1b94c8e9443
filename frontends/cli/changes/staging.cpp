#include "frontends/cli/changes/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/error.h"
#include "frontends/cli/changes/tree.h"

namespace rauha::cli {
namespace {

constexpr size_t kBuffer = 256 * 1024;

void writeAt(int fd, const char* data, size_t size, off_t at, const std::string& path) {
  while (size > 0) {
    const ssize_t n = pwrite(fd, data, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw osError("repository", "write " + path, errno, errno == ENOSPC ? "free space on its file system, then apply again" : "");
    data += n;
    size -= static_cast<size_t>(n);
    at += n;
  }
}

// One run of data. Returns where it ended: earlier than `end` when the file is shorter by now.
off_t copyRun(int from, int to, off_t at, off_t end, std::vector<char>& buffer, const std::string& path) {
  while (at < end) {
    const ssize_t n = pread(from, buffer.data(), std::min(buffer.size(), static_cast<size_t>(end - at)), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("repository", "read the new content of " + path);
    if (n == 0) break;
    writeAt(to, buffer.data(), static_cast<size_t>(n), at, path);
    at += n;
  }
  return at;
}

timespec timeOf(int64_t ns) {
  const int64_t second = 1'000'000'000;
  int64_t rest = ns % second;
  if (rest < 0) rest += second;
  return {static_cast<time_t>((ns - rest) / second), static_cast<long>(rest)};
}

bool ownerLeft(const Metadata& metadata, const std::string& path) {
  if (metadata.ownerMayFail && (errno == EPERM || errno == EINVAL)) return false;
  throw osError("repository", "change the owner of " + path, errno, "only root can give files away; leave --owner out");
}

void setXattrs(int fd, const std::vector<Xattr>& wanted, const std::string& path) {
  const auto present = xattrsOf(fd, path);
  for (const auto& old : present) {
    const bool stays = std::any_of(wanted.begin(), wanted.end(), [&](const Xattr& x) { return x.name == old.name; });
    if (!stays && fremovexattr(fd, old.name.c_str()) != 0 && errno != ENODATA)
      throwErrno("repository", "remove the extended attribute " + old.name + " of " + path);
  }
  for (const auto& attribute : wanted) {
    if (std::find(present.begin(), present.end(), attribute) != present.end()) continue;
    if (fsetxattr(fd, attribute.name.c_str(), attribute.value.data(), attribute.value.size(), 0) != 0)
      throw osError("repository", "set the extended attribute " + attribute.name + " of " + path, errno,
                    errno == ENOTSUP ? "the repository's file system has none" : "");
  }
}

}  // namespace

void copyContent(int from, int to, const std::string& path) {
  struct stat st {};
  if (fstat(from, &st) != 0) throwErrno("repository", "look at the new content of " + path);
  // The size first: a file system that cannot hold it says so before a byte is written.
  if (ftruncate(to, st.st_size) != 0) throwErrno("repository", "make " + path + " " + std::to_string(st.st_size) + " bytes long");
  std::vector<char> buffer(kBuffer);
  for (off_t at = 0; at < st.st_size;) {
    off_t data = lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // only a hole is left
    if (data < 0) data = at;                // the file system knows no holes
    const off_t hole = lseek(from, data, SEEK_HOLE);
    const off_t end = hole < 0 ? st.st_size : std::min<off_t>(hole, st.st_size);
    if (copyRun(from, to, data, end, buffer, path) < end) break;
    at = end;
  }
}

bool setMetadata(int fd, const Metadata& metadata, const std::string& path) {
  bool all = true;
  struct stat st {};
  if (fstat(fd, &st) != 0) throwErrno("repository", "look at " + path);
  if (metadata.owner && (st.st_uid != metadata.owner->first || st.st_gid != metadata.owner->second) &&
      fchown(fd, metadata.owner->first, metadata.owner->second) != 0)
    all = ownerLeft(metadata, path);
  // Setting user.* needs write permission by the mode: a mode without it comes last.
  if (metadata.xattrs) setXattrs(fd, *metadata.xattrs, path);
  if (metadata.mode && fchmod(fd, *metadata.mode) != 0) throwErrno("repository", "change the mode of " + path);
  if (metadata.mtimeNs) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timeOf(*metadata.mtimeNs)};
    if (futimens(fd, times.data()) != 0) throwErrno("repository", "set the time of " + path);
  }
  return all;
}

bool setLinkMetadata(int directory, const std::string& name, const Metadata& metadata, const std::string& path) {
  bool all = true;
  if (metadata.owner && fchownat(directory, name.c_str(), metadata.owner->first, metadata.owner->second, AT_SYMLINK_NOFOLLOW) != 0)
    all = ownerLeft(metadata, path);
  if (metadata.mtimeNs) {
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, timeOf(*metadata.mtimeNs)};
    if (utimensat(directory, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) throwErrno("repository", "set the time of " + path);
  }
  return all;
}

void copyHostAttributes(int from, int to) {
  std::array<char, 64 * 1024> value;
  for (const char* name : {"system.posix_acl_access", "security.selinux"}) {
    const ssize_t n = fgetxattr(from, name, value.data(), value.size());
    if (n >= 0) fsetxattr(to, name, value.data(), static_cast<size_t>(n), 0);
  }
}

void syncFile(int fd, const std::string& path) {
  if (fsync(fd) != 0) throwErrno("repository", "write " + path + " to disk");
}

}  // namespace rauha::cli
