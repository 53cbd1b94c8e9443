#include "frontends/cli/changes/apply_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

// First what does not depend on how this process was started, so that a cron job and a login session find the same file.
std::vector<std::string> runtimeDirectories() {
  std::vector<std::string> out{geteuid() == 0 ? std::string("/run") : "/run/user/" + std::to_string(geteuid())};
  if (const char* named = getenv("XDG_RUNTIME_DIR"); named != nullptr && named[0] == '/') out.emplace_back(named);
  out.emplace_back("/tmp");
  return out;
}

// Made if need be. Empty: not possible there, or somebody else's.
UniqueFd privateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return {};
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  const bool ours = fd && fstat(fd.get(), &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077u) == 0;
  return ours ? std::move(fd) : UniqueFd();
}

// Is the file still the one of that name? Who had the lock before us removes it.
bool isCurrent(int directory, const std::string& name, int fd) {
  struct stat there {
  }, here{};
  return fstatat(directory, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &here) == 0 && there.st_dev == here.st_dev &&
         there.st_ino == here.st_ino;
}

Error busy(const Tree& tree) {
  return {"repository", Code::busy, "another process is applying changes to " + tree.path(), "wait for it, then apply again", tree.path()};
}

}  // namespace

ApplyLock::ApplyLock(const Tree& tree) : ApplyLock(tree, runtimeDirectories()) {}

ApplyLock::ApplyLock(const Tree& tree, const std::vector<std::string>& parents)
    : file_(std::to_string(tree.device()) + "-" + std::to_string(tree.inode())) {
  std::string tried;
  for (const auto& parent : parents) {
    parent_ = parent + "/rauha-apply-" + std::to_string(geteuid());
    // Each turn another process has just removed what we had opened.
    for (int turn = 0; turn < 1000; ++turn) {
      const UniqueFd directory = privateDirectory(parent_);
      if (!directory) break;
      fd_ = UniqueFd(openat(directory.get(), file_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!fd_ && errno == ENOENT) continue;
      if (!fd_) break;
      if (flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) throw busy(tree);
      if (isCurrent(directory.get(), file_, fd_.get())) return;
    }
    fd_.reset();
    tried += (tried.empty() ? "" : ", ") + parent_;
  }
  throw Error("repository", Code::io, "no private directory for the lock of " + tree.path() + ": tried " + tried,
              "set XDG_RUNTIME_DIR to a directory of yours", tree.path());
}

ApplyLock::~ApplyLock() {
  unlink((parent_ + "/" + file_).c_str());
  rmdir(parent_.c_str());  // unless there is another one
}

}  // namespace rauha::cli
