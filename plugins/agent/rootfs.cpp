#include "plugins/agent/rootfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/agent/doors.h"
#include "plugins/agent/idmap.h"
#include "plugins/agent/landlock.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr unsigned kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

// "0", "1", … "7f": short, so that 128 of them fit into mount(2)'s page, free of the ':' and ',' that overlay gives a meaning.
std::string layerName(size_t index) {
  char buffer[8];
  ::snprintf(buffer, sizeof buffer, "%zx", index);
  return buffer;
}

std::string normalized(const std::string& path) {
  std::string out;
  for (const auto& part : splitPath(path)) out += "/" + part;
  return out;
}

}  // namespace

RootBuilder::RootBuilder(const Zone& zone, const RootPlan& plan, const ProcessPlan& process, PreparedRoot prepared, CopyReport copying)
    : zone_(zone), plan_(plan), process_(process), prepared_(std::move(prepared)), copying_(std::move(copying)), last_(monotonicNs()) {
  for (const auto& m : plan_.mounts) tmpPlanned_ = tmpPlanned_ || normalized(m.target) == "/tmp";
}

UniqueFd RootBuilder::stagingDirectory(const std::string& name, mode_t mode) const {
  if (::mkdirat(staging_.get(), name.c_str(), mode) != 0) throwErrno(kClass, "make directory " + name + " of the staging area");
  return sys::openat2(staging_.get(), name.c_str(), O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
                      "open directory " + name + " of the staging area");
}

void RootBuilder::stage(const char* name) {
  const int64_t now = monotonicNs();
  stages_.emplace_back(name, static_cast<uint64_t>(now - last_));
  last_ = now;
}

void RootBuilder::build() {
  ::umask(0);
  makeStaging();
  if (plan_.overlay) {
    mountOverlay();
  } else {
    rootMount_ = tmpfs(plan_.scratchBytes, "755", zone_.hostId(0), zone_.hostId(0), kPlain, "the root");
    sys::attachMount(rootMount_.get(), stagingDirectory("m", 0755).get(), "attach the root");
  }
  root_ = std::make_unique<RootDir>(duplicate(rootMount_.get()), zone_.hostId(0), zone_.hostId(0));
  stage("root");
  mountKernel();
  mountDev();
  mountTmp();
  stage("proc_sys_dev");
  applyPlanMounts();
  makeWorkdir();
  stage("mounts");
  maskPaths();
  sealRoot();
  stage("masks");
  if (::fchdir(rootMount_.get()) != 0) throwErrno(kClass, "enter the new root");
  sys::pivotToCwd();
  stage("pivot");
}

UniqueFd RootBuilder::tmpfs(uint64_t bytes, const char* mode, uint32_t uid, uint32_t gid, unsigned attributes,
                            const std::string& what) const {
  // An empty file costs the kernel memory too: the number of files is bounded by what the size could hold as one page each.
  const uint64_t inodes = std::clamp<uint64_t>(bytes / 4096 + 1024, 1024, 4u << 20);
  return sys::newMount("tmpfs",
                       {{"size", std::to_string(bytes)},
                        {"nr_inodes", std::to_string(inodes)},
                        {"mode", mode},
                        {"uid", std::to_string(uid)},
                        {"gid", std::to_string(gid)}},
                       attributes, "mount a tmpfs for " + what);
}

void RootBuilder::makeStaging() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) throwErrno(kClass, "make the mount table private");
  const bool holdsScratch = plan_.needsScratch() && prepared_.scratchDevice.empty();
  // A read-only root needs room for mount points only.
  staging_ = tmpfs(holdsScratch ? plan_.scratchBytes : 4u << 20, "755", 0, 0, kPlain, "the staging area");
  // Any directory but "/": a mount there would be what pivot_root's "." finds on top and detaches, and the host's root would stay.
  UniqueFd somewhere(::open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!somewhere) throwErrno(kClass, "open /sys");
  sys::attachMount(staging_.get(), somewhere.get(), "attach the staging area");
  if (::fchdir(staging_.get()) != 0) throwErrno(kClass, "enter the staging area");
  emptyDirectory_ = stagingDirectory("x", 0555);
  if (!prepared_.scratchDevice.empty()) attachDiskScratch();
}

void RootBuilder::attachDiskScratch() {
  UniqueFd disk = sys::newMount("ext4", {{"source", prepared_.scratchDevice}, {"noinit_itable", ""}}, kPlain, "mount the disk scratch");
  prepared_.scratchLoop.reset();  // from here the mount alone keeps the loop device; it clears itself
  sys::attachMount(disk.get(), stagingDirectory("s", 0700).get(), "attach the disk scratch");
  scratch_ = "s/";
}

std::string RootBuilder::attachLayers() {
  std::string lower;
  for (size_t i = plan_.layers.size(); i-- > 0;) {
    const Source& source = plan_.layers[i];
    UniqueFd& mount = prepared_.layers[i];
    const int userns = ownerUserns(source);
    if (sys::setMountAttributesRaw(mount.get(), {.set = kPlain | MOUNT_ATTR_RDONLY, .idmapUserns = userns}) != 0) {
      if (errno == EINVAL && userns >= 0)
        throw Error("image", Code::unsupported, "layer " + source.name() + " lies on a file system that cannot be id-mapped",
                    "keep Rauha's state on ext4, xfs, btrfs or tmpfs", source.name());
      throwErrno("image", "prepare layer " + source.name());
    }
    const std::string name = layerName(i);
    sys::attachMount(mount.get(), stagingDirectory(name, 0755).get(), "attach layer " + source.name());
    lower += (lower.empty() ? "" : ":") + name;
  }
  return lower;
}

void RootBuilder::mountOverlay() {
  const std::string lower = attachLayers();
  // The root directory looks as the topmost layer's does.
  struct stat top;
  if (::fstatat(staging_.get(), layerName(plan_.layers.size() - 1).c_str(), &top, 0) != 0) throwErrno("image", "stat the topmost layer");
  if (!S_ISDIR(top.st_mode)) throw Error("image", Code::invalid, "the topmost layer is not a directory");
  UniqueFd upper = stagingDirectory(scratch_ + "u", 0755);
  stagingDirectory(scratch_ + "w", 0700);
  if (::fchownat(staging_.get(), (scratch_ + "u").c_str(), top.st_uid, top.st_gid, 0) != 0) throwErrno(kClass, "chown the writable layer");
  if (::fchmodat(staging_.get(), (scratch_ + "u").c_str(), top.st_mode & 0777, 0) != 0) throwErrno(kClass, "chmod the writable layer");
  stagingDirectory("m", 0755);
  // What the kernel was configured with must not change what a layer's extended attributes can do.
  std::string options =
      "lowerdir=" + lower + ",upperdir=" + scratch_ + "u,workdir=" + scratch_ + "w,redirect_dir=nofollow,metacopy=off,index=off,xino=off";
  if (!scratch_.empty()) options += ",volatile";
  if (::mount("overlay", "m", "overlay", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    throwErrno("image", "mount the overlay of " + std::to_string(plan_.layers.size()) + " layers");
  rootMount_ = sys::openat2(staging_.get(), "m", O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, "open the root");
}

// A link of the image may make a mount's target the root itself. What is mounted there would lie over the new root.
void RootBuilder::refuseRoot(const UniqueFd& target, const std::string& what) const {
  struct statx root = {}, there = {};
  constexpr unsigned kWanted = STATX_INO | STATX_MNT_ID;
  if (::statx(rootMount_.get(), "", AT_EMPTY_PATH, kWanted, &root) != 0 || ::statx(target.get(), "", AT_EMPTY_PATH, kWanted, &there) != 0)
    throwErrno(kClass, "stat the place of " + what);
  if (root.stx_mnt_id == there.stx_mnt_id && root.stx_ino == there.stx_ino)
    throw Error("image", Code::invalid, "in this image, the place where " + what + " is to be mounted leads to the root \"/\" itself",
                "replace that symbolic link of the image by a directory", what);
}

void RootBuilder::attach(UniqueFd mount, const UniqueFd& target, const std::string& what, bool writable) {
  refuseRoot(target, what);
  sys::attachMount(mount.get(), target.get(), "mount " + what);
  if (writable && plan_.readOnlyRoot) writable_.push_back(std::move(mount));
}

void RootBuilder::mountTmp() {
  if (tmpPlanned_) return;
  UniqueFd mount = tmpfs(plan_.tmpBytes, "1777", zone_.hostId(0), zone_.hostId(0), kPlain, "/tmp");
  root_->addFresh(mount.get());
  const UniqueFd target = root_->directory("/tmp");
  attach(std::move(mount), target, "/tmp", true);
}

void RootBuilder::resolveUserOnce() {
  if (userKnown_) return;
  user_ = resolveUserBeneath(root_->fd(), process_.user, zone_.maxId());
  userKnown_ = true;
}

int RootBuilder::ownerUserns(const Source& source) {
  if (source.mapping == Mapping::none) return -1;
  if (source.mapping == Mapping::zone) return zone_.userNamespace ? zone_.userNamespaceFd.get() : -1;
  if (root_ == nullptr) throw Error(kClass, Code::invalid, "layer " + source.name() + " cannot be mapped to the zone's user");
  resolveUserOnce();
  const auto key = std::make_pair(source.hostUid, source.hostGid);
  for (const auto& [k, fd] : ownerUserns_)
    if (k == key) return fd.get();
  ownerUserns_.emplace_back(key, makeOneIdUserns(source.hostUid, zone_.hostId(user_.uid), source.hostGid, zone_.hostId(user_.gid)));
  return ownerUserns_.back().second.get();
}

void RootBuilder::applyBind(const MountPlan& m, size_t index) {
  UniqueFd& mount = prepared_.binds[index];
  if (!mount) return;
  if (m.overlay) return mountLayered(m, index);
  const int userns = ownerUserns(m.source);
  const uint64_t attributes = kPlain | (m.readOnly ? MOUNT_ATTR_RDONLY : 0) | (m.exec ? 0 : MOUNT_ATTR_NOEXEC);
  const bool recursive = m.source.mapping == Mapping::none;
  if (sys::setMountAttributesRaw(mount.get(), {.set = attributes, .idmapUserns = userns, .recursive = recursive}) != 0) {
    if (errno == EINVAL && userns >= 0)
      throw Error("repository", Code::unsupported,
                  m.source.name() + " lies on a file system that cannot be id-mapped, it cannot be mounted at " + m.target,
                  "use the overlay mode, or move it to ext4, xfs, btrfs or tmpfs", m.target);
    throwErrno(kClass, "prepare the mount of " + m.source.name() + " at " + m.target);
  }
  if (m.source.mapping == Mapping::owner && prepared_.isDirectory[index])
    if (std::string doors = noteDoors(mount.get()); !doors.empty()) notes_.push_back(std::move(doors));
  const UniqueFd target = prepared_.isDirectory[index] ? root_->directory(m.target) : root_->mountPointFile(m.target);
  attach(std::move(mount), target, m.source.name() + " at " + m.target, !m.readOnly);
}

void RootBuilder::applyPlanMounts() {
  using Kind = MountPlan::Kind;
  for (size_t i = 0; i < plan_.mounts.size(); ++i) {
    const MountPlan& m = plan_.mounts[i];
    switch (m.kind) {
      case Kind::bind:
        applyBind(m, i);
        break;
      case Kind::tmpfs: {
        const unsigned attributes = kPlain | (m.readOnly ? MOUNT_ATTR_RDONLY : 0) | (m.exec ? 0 : MOUNT_ATTR_NOEXEC);
        UniqueFd mount = tmpfs(m.bytes, "1777", zone_.hostId(0), zone_.hostId(0), attributes, m.target);
        root_->addFresh(mount.get());
        const UniqueFd target = root_->directory(m.target);
        attach(std::move(mount), target, m.target, !m.readOnly);
        break;
      }
      case Kind::symlink:
        root_->symlink(m.target, m.content);
        break;
      case Kind::file:
        root_->writeFile(m.target, m.content, 0644);
        break;
      case Kind::directory:
        root_->makeDirectory(m.target, m.mode, zone_.hostId(0), zone_.hostId(0));
        break;
    }
  }
  resolveUserOnce();
}

void RootBuilder::makeWorkdir() {
  if (process_.workdirRequired || root_->find(process_.workdir)) return;
  root_->makeDirectory(process_.workdir, 0755, zone_.hostId(user_.uid), zone_.hostId(user_.gid));
}

void RootBuilder::sealRoot() {
  if (plan_.readOnlyRoot) sys::setMountAttributes(rootMount_.get(), {.set = MOUNT_ATTR_RDONLY}, "make the root read-only");
}

UniqueFd RootBuilder::makeLandlockRuleset(int& abi) const {
  abi = 0;
  if (!zone_.landlock) return {};
  LandlockPlan plan;
  plan.root = rootMount_.get();
  plan.dev = dev_.get();
  plan.readOnlyRoot = plan_.readOnlyRoot;
  plan.scopeAbstractSockets = !zone_.ownNetwork;
  for (const auto& fd : writable_) plan.writable.push_back(fd.get());
  for (const auto& fd : overlays_) plan.again.push_back(fd.get());
  return agent::makeLandlockRuleset(plan, abi);
}

}  // namespace rauha::agent
