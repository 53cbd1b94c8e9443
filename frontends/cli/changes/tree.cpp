#include "frontends/cli/changes/tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
constexpr size_t kBuffer = 256 * 1024;
constexpr size_t kMaxXattrs = 64 * 1024;  // the kernel's limits of list and value

int64_t nanoseconds(const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

FileType typeOf(mode_t mode) {
  if (S_ISREG(mode)) return FileType::regular;
  if (S_ISDIR(mode)) return FileType::directory;
  return S_ISLNK(mode) ? FileType::symlink : FileType::special;
}

std::string linkText(int directory, const std::string& name) {
  char text[PATH_MAX];
  const ssize_t n = readlinkat(directory, name.c_str(), text, sizeof text);
  return n < 0 ? std::string() : std::string(text, static_cast<size_t>(n));
}

}  // namespace

Tree::Tree(const std::string& path) : path_(path), top_(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (!top_) throw osError("repository", "open repository " + path, errno, "was it moved? name it with --tree DIR");
  struct stat st {};
  if (fstat(top_.get(), &st) != 0) throwErrno("repository", "look at repository " + path);
  device_ = st.st_dev;
  inode_ = st.st_ino;
}

void Tree::mustBe(const BaseTree& base) const {
  if (base.device == device_ && base.inode == inode_) return;
  throw Error("repository", Code::conflict,
              path_ + " is not the directory that the task saw: it is inode " + std::to_string(inode_) + " on device " +
                  std::to_string(device_) + ", that was inode " + std::to_string(base.inode) + " on device " + std::to_string(base.device),
              "name the tree with --tree DIR; each file is still compared with what the task saw", path_);
}

UniqueFd Tree::directory(const std::string& path, int& error) const {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = kBeneath;
  for (;;) {
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, top_.get(), path.empty() ? "." : path.c_str(), &how, sizeof how)));
    error = fd ? 0 : errno;
    // A rename raced with the walk, which the kernel cannot rule out; it asks to try again.
    if (fd || (error != EAGAIN && error != EINTR)) return fd;
  }
}

Found Tree::look(const std::string& path) const {
  Found found;
  const UniqueFd parent = directory(parentOf(path), found.parentError);
  if (parent) found.state = stateAt(parent.get(), nameOf(path), &found.links);
  return found;
}

UniqueFd Tree::openFile(const std::string& path, int& error) const {
  const UniqueFd parent = directory(parentOf(path), error);
  if (!parent) return {};
  UniqueFd fd = openAt(parent.get(), nameOf(path), O_RDONLY);
  error = fd ? 0 : errno;
  struct stat st {};
  if (fd && fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode)) return fd;
  if (fd) error = EINVAL;
  return {};
}

FileState stateAt(int directory, const std::string& name, uint64_t* links) {
  FileState state;
  struct stat st {};
  if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return state;
    throwErrno("repository", "look at " + name);
  }
  state.type = typeOf(st.st_mode);
  state.mode = st.st_mode & 07777u;
  state.uid = st.st_uid;
  state.gid = st.st_gid;
  state.mtimeNs = nanoseconds(st.st_mtim);
  state.ctimeNs = nanoseconds(st.st_ctim);
  state.inode = st.st_ino;
  if (state.type == FileType::regular || state.type == FileType::symlink) state.size = static_cast<uint64_t>(st.st_size);
  if (state.type == FileType::symlink) state.target = linkText(directory, name);
  if (links != nullptr) *links = st.st_nlink;
  return state;
}

UniqueFd openAt(int directory, const std::string& name, int flags) noexcept {
  return UniqueFd(openat(directory, name.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

std::string digestOf(int fd, const std::string& what) {
  Sha256 digest;
  std::vector<char> buffer(kBuffer);
  for (off_t at = 0;;) {
    const ssize_t n = pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("repository", "read " + what);
    if (n == 0) return digest.finish();
    digest.update(buffer.data(), static_cast<size_t>(n));
    at += n;
  }
}

std::vector<Xattr> xattrsOf(int fd, const std::string& what) {
  std::string names(kMaxXattrs, '\0');
  const ssize_t length = flistxattr(fd, names.data(), names.size());
  if (length < 0 && (errno == ENOTSUP || errno == ENOSYS)) return {};
  if (length < 0) throwErrno("repository", "list the extended attributes of " + what);
  names.resize(static_cast<size_t>(length));
  std::vector<Xattr> out;
  std::string value(kMaxXattrs, '\0');
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (name.rfind("user.", 0) != 0 && name != "security.capability" && !isAcl(name)) continue;
    const ssize_t n = fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (n < 0 && errno == ENODATA) continue;
    if (n < 0) throwErrno("repository", "read the extended attribute " + name + " of " + what);
    out.push_back({name, value.substr(0, static_cast<size_t>(n))});
  }
  std::sort(out.begin(), out.end(), [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  return out;
}

}  // namespace rauha::cli
