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

UniqueFd detachedMount(int fd, uint64_t alsoSet, std::string_view errorClass, const std::string& what) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
  UniqueFd mount(static_cast<int>(syscall(SYS_open_tree, fd, "", flags)));
  if (!mount)
    throw osError(errorClass, "make a read-only view of " + what, errno,
                  "it must lie in the daemon's own mount namespace, or the plugin run without isolation = \"process\"");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | alsoSet;
  attributes.propagation = MS_PRIVATE;
  if (syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
    throwErrno(errorClass, "make the view of " + what + " read-only");
  return mount;
}

// Through /proc: the file that the mount shows, not a second look at a name.
UniqueFd openView(const UniqueFd& mount, int flags, std::string_view errorClass, const std::string& what) {
  UniqueFd out(open(("/proc/self/fd/" + std::to_string(mount.get())).c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!out) throwErrno(errorClass, "open the view of " + what);
  return out;
}

}  // namespace

PassedSource passableSource(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) throwErrno("image", "stat the image's source");
  if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) return {duplicate(fd), {}};
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    throw Error("image", Code::denied, "the image's source is a device", "a plugin in a process of its own gets no devices");
  const std::string what = "the image's source";
  UniqueFd mount = detachedMount(fd, MOUNT_ATTR_NOEXEC, "image", what);
  UniqueFd out = openView(mount, S_ISDIR(st.st_mode) ? O_DIRECTORY : 0, "image", what);
  return {std::move(out), std::move(mount)};
}

UniqueFd passablePlugin(int fd) {
  const std::string what = "the plugin's file";
  return openView(detachedMount(fd, 0, "plugin", what), 0, "plugin", what);
}

}  // namespace rauha::plugin
