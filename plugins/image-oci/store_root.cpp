#include "plugins/image-oci/store_root.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/ids.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

constexpr int kLockPollMs = 20;  // flock has no deadline and no descriptor to wait for

UniqueFd openRoot(const std::string& path) {
  // <state_dir> exists; the two directories below it may be new.
  const size_t slash = path.rfind('/');
  const std::string parent = path.substr(0, slash);
  if (mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) throwIo("make directory " + parent);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throwIo("make directory " + path);
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throwIo("open directory " + path);
  struct stat meta {};
  if (fstat(fd.get(), &meta) != 0) throwIo("stat " + path);
  if (meta.st_uid != geteuid() || (meta.st_mode & 077) != 0)
    throw Error(
        "image", Code::denied,
        "image store " + path + " is not private: owner " + std::to_string(meta.st_uid) + ", mode " + std::to_string(meta.st_mode & 07777),
        "it must be the daemon's own, mode 0700");
  return fd;
}

void blockingLock(int fd, const std::string& what) {
  while (flock(fd, LOCK_EX) != 0)
    if (errno != EINTR) throwIo("lock " + what);
}

// Is the locked file still the one of that name? Another one may have removed it between open and lock.
bool stillThere(int fd, int dir, const std::string& name) {
  struct stat mine {
  }, there{};
  return fstat(fd, &mine) == 0 && fstatat(dir, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && mine.st_ino == there.st_ino &&
         mine.st_dev == there.st_dev;
}

}  // namespace

StoreRoot::StoreRoot(const std::string& path) : path_(path), root_(openRoot(path)) {
  const UniqueFd algorithms = makeDir(root_.get(), "blobs", path + "/blobs");
  blobs_ = makeDir(algorithms.get(), "sha256", path + "/blobs/sha256");
  layers_ = makeDir(root_.get(), "layers", path + "/layers");
  images_ = makeDir(root_.get(), "images", path + "/images");
  leases_ = makeDir(root_.get(), "leases", path + "/leases");
  tmp_ = makeDir(root_.get(), "tmp", path + "/tmp");
  locks_ = makeDir(root_.get(), "locks", path + "/locks");
}

UniqueFd StoreRoot::lock() const {
  UniqueFd fd(openat(root_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throwIo("open " + path_ + "/lock");
  blockingLock(fd.get(), path_ + "/lock");
  return fd;
}

UniqueFd StoreRoot::tryLockLayer(const std::string& hex) const {
  for (;;) {
    UniqueFd fd(openat(locks_.get(), hex.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) throwIo("open " + path_ + "/locks/" + hex);
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK || errno == EINTR) return {};
      throwIo("lock layer " + hex);
    }
    if (stillThere(fd.get(), locks_.get(), hex)) return fd;
  }
}

UniqueFd StoreRoot::lockLayer(const std::string& hex, const Watch& watch) const {
  for (;;) {
    if (UniqueFd fd = tryLockLayer(hex)) return fd;
    watch.mayGoOn();
    pollfd cancel{watch.cancelFd, POLLIN, 0};
    poll(&cancel, 1, kLockPollMs);
  }
}

UniqueFd StoreRoot::newLocked(int dir, std::string_view prefix, std::string& name) const {
  for (;;) {
    name = newId(prefix);
    UniqueFd fd(openat(dir, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) throwIo("make a temporary file in " + path_);
    // Somebody who cleans up may have come between; then try another name.
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && stillThere(fd.get(), dir, name)) return fd;
  }
}

void StoreRoot::writeWhole(int dir, const std::string& name, std::string_view content, bool durable) const {
  std::string temporary;
  const UniqueFd fd = newLocked(tmp_.get(), "file", temporary);
  Defer remove([&] { unlinkat(tmp_.get(), temporary.c_str(), 0); });
  while (!content.empty()) {
    const ssize_t n = write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwIo("write " + path_ + "/…/" + name);
    content.remove_prefix(static_cast<size_t>(n));
  }
  if (durable && fsync(fd.get()) != 0) throwIo("write " + path_ + "/…/" + name);
  if (renameat(tmp_.get(), temporary.c_str(), dir, name.c_str()) != 0) throwIo("rename to " + path_ + "/…/" + name);
  remove.dismiss();
  if (durable && fsync(dir) != 0) throwIo("write the directory of " + name);
}

bool isHeld(int dir, const std::string& name) {
  const UniqueFd fd(openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return false;
  return flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

std::string hexOf(std::string_view digest) { return std::string(digest.substr(digest.find(':') + 1)); }

}  // namespace rauha::oci
