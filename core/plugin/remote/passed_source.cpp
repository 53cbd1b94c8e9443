#include "core/plugin/remote/passed_source.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/base/error.h"

namespace rauha::plugin {
namespace {

UniqueFd detachedMount(int fd) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
  UniqueFd mount(static_cast<int>(syscall(SYS_open_tree, fd, "", flags)));
  if (!mount)
    throw osError("image", "make a read-only view of the image's source", errno,
                  "the source must lie in the daemon's own mount namespace, or the plugin run without isolation = \"process\"");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  attributes.propagation = MS_PRIVATE;
  if (syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
    throwErrno("image", "make the view of the image's source read-only");
  return mount;
}

}  // namespace

PassedSource passableSource(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) throwErrno("image", "stat the image's source");
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) return {duplicate(fd), {}};
  UniqueFd mount = detachedMount(fd);
  // Through /proc: the file that it shows, not a second look at a name.
  const std::string path = "/proc/self/fd/" + std::to_string(mount.get());
  UniqueFd out(open(path.c_str(), O_RDONLY | O_CLOEXEC | (S_ISDIR(st.st_mode) ? O_DIRECTORY : 0)));
  if (!out) throwErrno("image", "open the view of the image's source");
  return {std::move(out), std::move(mount)};
}

}  // namespace rauha::plugin
