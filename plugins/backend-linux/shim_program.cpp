#include "plugins/backend-linux/shim_program.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::backend {
namespace {

constexpr const char* kHint = "rauha-shim belongs beside rauhad or in libexec/rauha";

// A link would lead out of the mount.
std::filesystem::path resolved(const std::string& program) {
  std::error_code error;
  auto out = std::filesystem::canonical(program, error);
  if (error) throw osError("backend", "start " + program, error.value(), kHint);
  return out;
}

std::shared_ptr<const ShimProgram::Place> makePlace(const std::string& path) {
  const std::filesystem::path program = resolved(path);
  // Made writable again it could be as long as this descriptor is open: it is the mount's owner, and with it the mount leaves every
  // namespace. What was opened through the mount goes on.
  const UniqueFd mount = sys::cloneMount(AT_FDCWD, program.parent_path().c_str(), false, "take the directory of " + program.string());
  sys::setMountAttributes(mount.get(), {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV}, "protect " + program.string());
  UniqueFd directory(::openat(mount.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) throwErrno("backend", "open the directory of " + program.string());
  return std::make_shared<const ShimProgram::Place>(ShimProgram::Place{std::move(directory), program.filename().string()});
}

}  // namespace

ShimProgram::Version ShimProgram::version() const {
  struct stat st {};
  if (::stat(path_.c_str(), &st) != 0) throw osError("backend", "start " + path_, errno, kHint);
  return {st.st_dev, st.st_ino, st.st_ctim.tv_sec * 1'000'000'000 + st.st_ctim.tv_nsec};
}

std::shared_ptr<const ShimProgram::Place> ShimProgram::open() {
  const std::lock_guard held(mutex_);
  const Version now = version();
  if (place_ == nullptr || now != known_) {
    place_ = makePlace(path_);
    known_ = now;
  }
  return place_;
}

}  // namespace rauha::backend
