// Overlay mounts of a plan: a directory of the host that is shown, and never written. See schemas/container.capnp, Mount.overlay.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "plugins/agent/rootfs.h"
#include "plugins/agent/tree_copy.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "repository";
constexpr uint64_t kReadOnly = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY;
constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

}  // namespace

// The base is copied where the kernel cannot show it under other owners; the copy then stands in for it as the lowest layer.
void RootBuilder::copyBase(const MountPlan& m, int source, const std::string& name) {
  const std::string path = scratch_ + name;
  stagingDirectory(path, 0755);
  const UniqueFd copy =
      sys::openat2(staging_.get(), path.c_str(), O_RDONLY | O_DIRECTORY, 0, kBeneath, "open the copy of " + m.source.name());
  const CopyCounts counts =
      copyTree(source, copy.get(), {m.source.hostUid, m.source.hostGid, zone_.hostId(user_.uid), zone_.hostId(user_.gid)}, copying_);
  std::string note = "repository: copied (" + std::to_string(counts.files) + " files, " + std::to_string(counts.bytes) +
                     " bytes), its file system cannot be id-mapped";
  if (counts.leftOut > 0) note += "; " + std::to_string(counts.leftOut) + " FIFOs, sockets or devices were left out";
  notes_.push_back(std::move(note));
}

void RootBuilder::attachBase(const MountPlan& m, size_t index, const std::string& name) {
  const UniqueFd& mount = prepared_.binds[index];
  const int userns = ownerUserns(m.source);
  if (sys::setMountAttributesRaw(mount.get(), {.set = kReadOnly, .idmapUserns = userns}) == 0) {
    sys::attachMount(mount.get(), stagingDirectory(name, 0755).get(), "attach " + m.source.name());
    return;
  }
  if (errno != EINVAL || userns < 0) throwErrno(kClass, "prepare " + m.source.name() + " for " + m.target);
  copyBase(m, mount.get(), name);
}

std::string RootBuilder::attachLowers(const MountPlan& m, size_t index, const std::string& prefix) {
  std::string lower;
  for (size_t i = m.lower.size(); i-- > 0;) {
    const UniqueFd& mount = prepared_.lowers[index][i];
    sys::setMountAttributes(mount.get(), {.set = kReadOnly, .idmapUserns = ownerUserns(m.lower[i])}, "prepare layer " + m.lower[i].name());
    const std::string name = prefix + std::to_string(i);
    sys::attachMount(mount.get(), stagingDirectory(name, 0755).get(), "attach layer " + m.lower[i].name());
    lower += name + ":";
  }
  return lower;
}

void RootBuilder::mountLayered(const MountPlan& m, size_t index) {
  resolveUserOnce();
  const std::string prefix = "o" + std::to_string(writableLayers_.size());
  const size_t notesBefore = notes_.size();
  attachBase(m, index, prefix + "b");
  const bool copied = notes_.size() != notesBefore;
  const std::string base = (copied ? scratch_ : "") + prefix + "b", upper = scratch_ + prefix + "u", work = scratch_ + prefix + "w";
  const std::string lower = attachLowers(m, index, prefix + "l");
  // The mount looks as the topmost layer's directory does.
  struct stat top;
  const std::string topmost = m.lower.empty() ? base : prefix + "l" + std::to_string(m.lower.size() - 1);
  if (::fstatat(staging_.get(), topmost.c_str(), &top, 0) != 0) throwErrno(kClass, "stat " + m.source.name());
  stagingDirectory(upper, 0755);
  stagingDirectory(work, 0700);
  if (::fchownat(staging_.get(), upper.c_str(), top.st_uid, top.st_gid, 0) != 0 ||
      ::fchmodat(staging_.get(), upper.c_str(), top.st_mode & 0777, 0) != 0)
    throwErrno(kClass, "prepare the writable layer of " + m.target);
  const std::string at = prefix + "m";
  stagingDirectory(at, 0755);
  // Plain copies in the layer, so that it can be read without the mount: nothing redirected, no metadata without its data.
  std::string options =
      "lowerdir=" + lower + base + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=nofollow,metacopy=off,index=off,xino=off";
  if (!scratch_.empty()) options += ",volatile";
  const unsigned long flags = MS_NOSUID | MS_NODEV | (m.exec ? 0ul : static_cast<unsigned long>(MS_NOEXEC));
  if (::mount("overlay", at.c_str(), "overlay", flags, options.c_str()) != 0)
    throw osError(kClass, "mount the overlay over " + m.source.name(), errno,
                  "use --repo-mode ro, or move the repository to ext4, xfs, btrfs or tmpfs");
  UniqueFd mount = sys::openat2(staging_.get(), at.c_str(), O_PATH | O_DIRECTORY, 0, kBeneath, "open the overlay");
  writableLayers_.push_back(
      sys::openat2(staging_.get(), upper.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, kBeneath, "open the writable layer"));
  const UniqueFd target = root_->directory(m.target);
  overlays_.push_back(duplicate(mount.get()));
  attach(std::move(mount), target, m.source.name() + " at " + m.target, true);
}

}  // namespace rauha::agent
