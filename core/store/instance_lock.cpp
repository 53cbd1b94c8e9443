#include "core/store/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/error.h"

namespace rauha::store {
namespace {

std::string ownerOf(int file) {
  char text[16];
  const ssize_t size = pread(file, text, sizeof text, 0);
  std::string pid;
  for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; ++i) pid += text[i];
  return pid.empty() ? "another rauhad" : "rauhad with pid " + pid;
}

}  // namespace

InstanceLock::InstanceLock(const std::string& path) : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
  if (!file_) throwErrno("store", "open " + path);
  if (flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throwErrno("store", "lock " + path);
    throw Error("store", Code::busy, path + " is held by " + ownerOf(file_.get()), "stop it, or choose another --root", path);
  }
  // Only for the message above: that it cannot be written (a full disk) is no reason not to start.
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(file_.get(), 0) == 0 && pwrite(file_.get(), pid.data(), pid.size(), 0) < 0) errno = 0;
}

}  // namespace rauha::store
