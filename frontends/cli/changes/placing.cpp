#include "frontends/cli/changes/placing.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

int renameWith(int fromDirectory, const std::string& from, int toDirectory, const std::string& to, unsigned flags) noexcept {
  return static_cast<int>(syscall(SYS_renameat2, fromDirectory, from.c_str(), toDirectory, to.c_str(), flags));
}

[[noreturn]] void throwPlacing(const std::string& path, int error) {
  if (error == EEXIST || error == ENOTEMPTY)
    throw Error("repository", Code::conflict, path + " appeared while the changes were applied", "look at it, then apply again", path);
  if (error == EXDEV)
    throw Error("repository", Code::unsupported, path + " is on another file system than the repository's top",
                "apply it by hand: rauha diff --patch", path);
  throw osError("repository", "rename into place " + path, error,
                error == EACCES || error == EPERM ? "you need write permission on its directory" : "");
}

[[noreturn]] void throwChanged(const std::string& path) {
  throw Error("repository", Code::conflict, path + " changed while the changes were applied", "look at it, then apply again", path);
}

// For file systems without RENAME_NOREPLACE: a hard link, and a new directory, fail where something is.
void placeWithoutFlags(const WorkDirectory& work, const std::string& staged, const Place& place) {
  if (stateAt(work.fd(), staged).type == FileType::directory) {
    if (mkdirat(place.parent.get(), place.name.c_str(), 0700) != 0) throwPlacing(place.path, errno);
  } else if (linkat(work.fd(), staged.c_str(), place.parent.get(), place.name.c_str(), 0) != 0) {
    throwPlacing(place.path, errno);
  }
  work.drop(staged);
}

}  // namespace

Place placeOf(const Tree& tree, const std::string& path) {
  int error = 0;
  Place place{tree.directory(parentOf(path), error), nameOf(path), path};
  if (!place.parent)
    throw osError("repository", "reach the directory of " + path, error, "no symbolic link is followed, and no other file system entered");
  return place;
}

bool sameObject(const FileState& a, const FileState& b) {
  if (a.type != b.type || a.inode != b.inode) return false;
  return a.type == FileType::directory || (a.size == b.size && a.mtimeNs == b.mtimeNs);
}

void placeNew(const WorkDirectory& work, const std::string& staged, const Place& place) {
  if (renameWith(work.fd(), staged, place.parent.get(), place.name, RENAME_NOREPLACE) == 0) return;
  if (errno != EINVAL) throwPlacing(place.path, errno);
  placeWithoutFlags(work, staged, place);
}

void exchange(const WorkDirectory& work, const std::string& staged, const Place& place, const FileState& expected, bool exactUndo) {
  const int parent = place.parent.get();
  if (!sameObject(stateAt(parent, place.name), expected)) throwChanged(place.path);
  if (renameWith(work.fd(), staged, parent, place.name, RENAME_EXCHANGE) != 0) {
    if (errno == ENOENT) throwChanged(place.path);
    if (errno != EINVAL || exactUndo) throwPlacing(place.path, errno);
    if (!sameObject(stateAt(parent, place.name), expected)) throwChanged(place.path);
    if (renameat(work.fd(), staged.c_str(), parent, place.name.c_str()) != 0) throwPlacing(place.path, errno);
    return;
  }
  if (sameObject(stateAt(work.fd(), staged), expected)) return;
  // Somebody was faster; what they put there goes back.
  if (renameWith(work.fd(), staged, parent, place.name, RENAME_EXCHANGE) != 0) throwPlacing(place.path, errno);
  throwChanged(place.path);
}

void takeAway(const WorkDirectory& work, const std::string& kept, const Place& place, const FileState& expected) {
  const int parent = place.parent.get();
  if (!sameObject(stateAt(parent, place.name), expected)) throwChanged(place.path);
  if (renameWith(parent, place.name, work.fd(), kept, RENAME_NOREPLACE) != 0) {
    if (errno == ENOENT) throwChanged(place.path);
    if (errno != EINVAL) throwPlacing(place.path, errno);
    if (renameat(parent, place.name.c_str(), work.fd(), kept.c_str()) != 0) throwPlacing(place.path, errno);
  }
  if (sameObject(stateAt(work.fd(), kept), expected)) return;
  if (renameWith(work.fd(), kept, parent, place.name, RENAME_NOREPLACE) != 0) throwPlacing(place.path, errno);
  throwChanged(place.path);
}

}  // namespace rauha::cli
