#include "core/plugin_host/private_root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"

// <sys/mount.h> and <linux/mount.h> cannot both be included.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*) noexcept;
extern "C" int umount2(const char*, int) noexcept;

namespace rauha::plugin_host {
namespace {

constexpr const char* kClass = "plugin";
// Not /dev/zero: a shared mapping of it is memory that no limit of the process counts.
constexpr std::array<const char*, 4> kDevices = {"/dev/null", "/dev/full", "/dev/random", "/dev/urandom"};
constexpr unsigned long kNoSpecial = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr int kDetach = 2;  // MNT_DETACH

std::string text(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

// Nothing is made outside the new root: every path is appended to the stage's.
std::string absolute(capnp::Text::Reader t) {
  std::string path = text(t);
  if (path.size() < 2 || path[0] != '/' || (path + "/").find("/../") != std::string::npos)
    throw Error(kClass, Code::invalid, "the private root: \"" + path + "\" is not an absolute path without \"..\"", {}, path);
  return path;
}

// One thing of the host's that will be seen: a copy of its mount, or the link that it is.
struct Seen {
  std::string path;
  UniqueFd mount;
  std::string link;
  bool directory = false;
};

void setAttributes(int fd, uint64_t attributes, const std::string& path) {
  mount_attr change{};
  change.attr_set = attributes;
  if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) != 0)
    throwErrno(kClass, "set the attributes of the mount of " + path);
}

std::string readLink(const std::string& path) {
  std::string out(PATH_MAX, '\0');
  const ssize_t n = readlink(path.c_str(), out.data(), out.size());
  if (n < 0) throwErrno(kClass, "read the link " + path);
  out.resize(static_cast<size_t>(n));
  return out;
}

// False: there is no such thing.
bool look(const std::string& path, uint64_t attributes, Seen& out) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return false;
    throwErrno(kClass, "stat " + path);
  }
  out.path = path;
  out.directory = S_ISDIR(st.st_mode);
  if (S_ISLNK(st.st_mode)) {
    out.link = readLink(path);
    return true;
  }
  out.mount.reset(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW)));
  if (!out.mount) throwErrno(kClass, "copy the mount of " + path);
  setAttributes(out.mount.get(), attributes, path);
  return true;
}

// Where the new root is built: mounted over the old /proc, which nobody needs any more.
constexpr const char* kStage = "/proc";
std::string staged(const std::string& path) { return kStage + path; }

void makeDirectories(const std::string& path, mode_t mode) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = staged(path.substr(0, at));
    if (mkdir(part.c_str(), at == std::string::npos ? mode : 0755) != 0 && errno != EEXIST) throwErrno(kClass, "make directory " + path);
    if (at == std::string::npos) return;
  }
}

void makeParent(const std::string& path) {
  if (const size_t slash = path.rfind('/'); slash > 0) makeDirectories(path.substr(0, slash), 0755);
}

void mountMemory(const std::string& path, const char* options) {
  makeDirectories(path, 0755);
  if (mount("tmpfs", staged(path).c_str(), "tmpfs", kNoSpecial, options) != 0)
    throwErrno(kClass, "mount a file system in memory on " + path);
}

void show(const Seen& seen) {
  makeParent(seen.path);
  const std::string at = staged(seen.path);
  if (!seen.link.empty()) {
    if (symlink(seen.link.c_str(), at.c_str()) != 0 && errno != EEXIST) throwErrno(kClass, "make the link " + seen.path);
    return;
  }
  if (seen.directory) {
    makeDirectories(seen.path, 0755);
  } else {
    const UniqueFd file(open(at.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644));
    struct stat st {};
    if (!file && lstat(at.c_str(), &st) != 0) throwErrno(kClass, "make the mount point " + seen.path);
  }
  if (syscall(SYS_move_mount, seen.mount.get(), "", AT_FDCWD, at.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    throwErrno(kClass, "attach the mount of " + seen.path);
}

void pivot() {
  if (chdir(kStage) != 0) throwErrno(kClass, "enter the private root");
  if (syscall(SYS_pivot_root, ".", ".") != 0) throwErrno(kClass, "change to the private root");
  if (umount2(".", kDetach) != 0) throwErrno(kClass, "give up the old root");
  if (chdir("/") != 0) throwErrno(kClass, "enter the private root");
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &change, sizeof change) != 0) throwErrno(kClass, "make the private root read-only");
}

// Descriptors 0 to 2 were opened where /dev could be written.
void closeTheHostsNull() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) throwErrno(kClass, "open /dev/null of the private root");
  for (int fd = 0; fd < 3; ++fd)
    if (dup2(null.get(), fd) != fd) throwErrno(kClass, "replace descriptor " + std::to_string(fd));
}

}  // namespace

void enterPrivateRoot(schema::HostSetup::Reader setup) {
  const std::string runtime = absolute(setup.getRuntimeDir()), libexec = absolute(setup.getLibexecDir());
  const std::string storePath = absolute(setup.getStateDir()) + "/plugins/" + text(setup.getPlugin());
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) throwErrno(kClass, "make the mounts private");
  // The sources first, while the old root is whole.
  std::vector<Seen> seen;
  for (const auto path : setup.getRead())
    if (Seen s; look(absolute(path), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, s)) seen.push_back(std::move(s));
  for (const char* device : kDevices)
    // Read-only: the node itself is the host's, and could be given another mode or owner. Writing to a device does not need more.
    if (Seen s; look(device, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, s)) seen.push_back(std::move(s));
  Seen store;
  if (!look(storePath, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, store) || !store.directory)
    throw Error(kClass, Code::notFound, storePath + " is not a directory", {}, storePath);

  if (mount("tmpfs", kStage, "tmpfs", kNoSpecial, "mode=0755,size=4m") != 0) throwErrno(kClass, "mount the private root");
  mountMemory("/tmp", "mode=1777,size=64m");
  mountMemory(runtime, "mode=0700,size=16m");
  for (const auto& s : seen) show(s);
  makeDirectories(libexec, 0755);
  show(store);
  makeDirectories("/proc", 0555);
  if (mount("proc", staged("/proc").c_str(), "proc", kNoSpecial | MS_RDONLY, "subset=pid") != 0) throwErrno(kClass, "mount /proc");
  pivot();
  closeTheHostsNull();
}

}  // namespace rauha::plugin_host
