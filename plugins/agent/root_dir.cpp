#include "plugins/agent/root_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

bool meansMissing(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

}  // namespace

std::vector<std::string> splitPath(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part == "..") throw Error(kClass, Code::invalid, "path " + std::string(path) + " contains \"..\"");
    if (!part.empty() && part != ".") out.emplace_back(part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return out;
}

RootDir::RootDir(UniqueFd root, uid_t ownerUid, gid_t ownerGid) : root_(std::move(root)), uid_(ownerUid), gid_(ownerGid) {
  addFresh(root_.get());
}

void RootDir::addFresh(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) throwErrno(kClass, "stat a fresh file system");
  fresh_.push_back(st.st_dev);
}

void RootDir::requireFresh(int fd, const std::string& path) const {
  struct stat st;
  if (::fstat(fd, &st) != 0) throwErrno(kClass, "stat the parent of " + path);
  if (std::find(fresh_.begin(), fresh_.end(), st.st_dev) != fresh_.end()) return;
  throw Error(kClass, Code::denied, path + " would be created outside the zone's own file systems",
              "a symbolic link of the image leads into a mounted directory; use another target", path);
}

UniqueFd RootDir::find(const std::string& path, bool followLinks) const {
  const uint64_t resolve = kInRoot | (followLinks ? 0 : static_cast<uint64_t>(RESOLVE_NO_SYMLINKS));
  UniqueFd fd(sys::openat2Raw(root_.get(), path.c_str(), O_PATH, 0, resolve));
  if (!fd && errno == ELOOP && !followLinks)
    throw Error(kClass, Code::denied, path + " of the image is a symbolic link, it must be a directory", "repair the image", path);
  if (!fd && !meansMissing(errno)) throwErrno(kClass, "open " + path + " of the zone");
  return fd;
}

UniqueFd RootDir::child(int parent, const std::string& name, const std::string& path) const {
  requireFresh(parent, path);
  if (::mkdirat(parent, name.c_str(), 0755) != 0) {
    // EEXIST here means a link that leads nowhere: the walk in the root has just found nothing under this name.
    throwErrno(kClass, "make directory " + path + " of the zone");
  }
  if (::fchownat(parent, name.c_str(), uid_, gid_, AT_SYMLINK_NOFOLLOW) != 0) throwErrno(kClass, "chown " + path + " of the zone");
  return sys::openat2(parent, name.c_str(), O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
                      "open " + path + " of the zone");
}

UniqueFd RootDir::directory(const std::string& path, bool followLinks) const {
  UniqueFd whole = find(path, followLinks);
  if (!whole) {
    std::string prefix;
    UniqueFd parent = duplicate(root_.get());
    for (const auto& name : splitPath(path)) {
      prefix += "/" + name;
      UniqueFd next = find(prefix, followLinks);
      if (!next) next = child(parent.get(), name, prefix);
      parent = std::move(next);
    }
    whole = std::move(parent);
  }
  struct stat st;
  if (::fstat(whole.get(), &st) != 0) throwErrno(kClass, "stat " + path + " of the zone");
  if (!S_ISDIR(st.st_mode))
    throw Error(kClass, Code::conflict, path + " of the zone is not a directory",
                "repair the image: it must have a directory there, or nothing", path);
  return whole;
}

RootDir::Place RootDir::place(const std::string& path) const {
  auto parts = splitPath(path);
  if (parts.empty()) throw Error(kClass, Code::invalid, "path " + path + " names the root itself");
  Place at;
  at.name = parts.back();
  parts.pop_back();
  std::string parent = "/";
  for (const auto& p : parts) parent += p + "/";
  at.parent = directory(parent);
  requireFresh(at.parent.get(), path);
  return at;
}

UniqueFd RootDir::mountPointFile(const std::string& path) const {
  UniqueFd there = find(path);
  if (there) {
    struct stat st;
    if (::fstat(there.get(), &st) != 0) throwErrno(kClass, "stat " + path + " of the zone");
    if (S_ISDIR(st.st_mode))
      throw Error(kClass, Code::conflict, path + " of the zone is a directory, a file is to be mounted on it",
                  "repair the image: it must have a file there, or nothing", path);
    return there;
  }
  const Place at = place(path);
  UniqueFd made(::openat(at.parent.get(), at.name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!made) throwErrno(kClass, "make file " + path + " of the zone");
  if (::fchown(made.get(), uid_, gid_) != 0) throwErrno(kClass, "chown " + path + " of the zone");
  return sys::openat2(at.parent.get(), at.name.c_str(), O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, "open " + path + " of the zone");
}

void RootDir::clearName(const Place& at, const std::string& path) const {
  if (::unlinkat(at.parent.get(), at.name.c_str(), 0) == 0 || errno == ENOENT) return;
  throwErrno(kClass, "replace " + path + " of the zone");
}

void RootDir::writeFile(const std::string& path, std::string_view content, mode_t mode) const {
  const Place at = place(path);
  clearName(at, path);
  UniqueFd fd(::openat(at.parent.get(), at.name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throwErrno(kClass, "make file " + path + " of the zone");
  writeAll(fd.get(), content, path);
  if (::fchown(fd.get(), uid_, gid_) != 0 || ::fchmod(fd.get(), mode) != 0) throwErrno(kClass, "chown " + path + " of the zone");
}

void RootDir::symlink(const std::string& path, const std::string& text) const {
  const Place at = place(path);
  clearName(at, path);
  if (::symlinkat(text.c_str(), at.parent.get(), at.name.c_str()) != 0) throwErrno(kClass, "make link " + path + " of the zone");
  if (::fchownat(at.parent.get(), at.name.c_str(), uid_, gid_, AT_SYMLINK_NOFOLLOW) != 0)
    throwErrno(kClass, "chown " + path + " of the zone");
}

void RootDir::makeNode(const std::string& path, mode_t mode, dev_t number) const {
  const Place at = place(path);
  clearName(at, path);
  if (::mknodat(at.parent.get(), at.name.c_str(), mode, number) != 0) throwErrno(kClass, "make node " + path + " of the zone");
}

UniqueFd RootDir::makeDirectory(const std::string& path, mode_t mode, uid_t uid, gid_t gid) const {
  UniqueFd dir = directory(path);
  requireFresh(dir.get(), path);
  // fchmod refuses O_PATH descriptors; the name within an O_PATH directory is "."
  if (::fchownat(dir.get(), "", uid, gid, AT_EMPTY_PATH) != 0) throwErrno(kClass, "chown " + path + " of the zone");
  if (::fchmodat(dir.get(), ".", mode, 0) != 0) throwErrno(kClass, "chmod " + path + " of the zone");
  return dir;
}

}  // namespace rauha::agent
