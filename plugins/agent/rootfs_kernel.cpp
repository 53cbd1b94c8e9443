// RootBuilder, second part: what the kernel provides (/proc, /sys, /dev) and what of it is hidden.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "plugins/agent/rootfs.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr unsigned kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr uint32_t kTtyGroup = 5;

// Facts about the machine and its other users, kernel addresses, and doors to hardware. /proc/modules and /proc/kallsyms show no addresses
// to the zone, but which drivers the host has is not its business.
constexpr const char* kMasked[] = {"/proc/acpi",
                                   "/proc/asound",
                                   "/proc/kcore",
                                   "/proc/keys",
                                   "/proc/key-users",
                                   "/proc/latency_stats",
                                   "/proc/timer_list",
                                   "/proc/timer_stats",
                                   "/proc/sched_debug",
                                   "/proc/scsi",
                                   "/proc/interrupts",
                                   "/proc/vmallocinfo",
                                   "/proc/iomem",
                                   "/proc/ioports",
                                   "/proc/slabinfo",
                                   "/proc/kpagecount",
                                   "/proc/kpageflags",
                                   "/proc/kpagecgroup",
                                   "/proc/kallsyms",
                                   "/proc/kmsg",
                                   "/proc/modules",
                                   "/proc/cmdline",
                                   "/proc/mtrr",
                                   "/proc/dma",
                                   "/proc/config.gz",
                                   "/proc/swaps",
                                   "/proc/pressure",
                                   "/sys/firmware",
                                   "/sys/fs/selinux",
                                   "/sys/fs/pstore",
                                   "/sys/kernel/security",
                                   "/sys/kernel/debug",
                                   "/sys/kernel/tracing",
                                   "/sys/kernel/vmcoreinfo",
                                   "/sys/kernel/notes",
                                   "/sys/kernel/boot_params",
                                   "/sys/kernel/slab",
                                   "/sys/module",
                                   "/sys/hypervisor",
                                   "/sys/devices/virtual/powercap",
                                   "/sys/devices/virtual/dmi"};
constexpr const char* kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

struct Node {
  const char* name;
  unsigned major, minor;
};
constexpr Node kNodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
struct Link {
  const char *name, *text;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"}};

std::string randomUuid() {
  unsigned char b[16];
  if (::getrandom(b, sizeof b, 0) != static_cast<ssize_t>(sizeof b)) throwErrno(kClass, "getrandom");
  b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);
  char out[40];
  ::snprintf(out, sizeof out, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0], b[1], b[2], b[3], b[4], b[5],
             b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  return out;
}

}  // namespace

void RootBuilder::mountKernel() {
  // Links are refused for these three: masks below are about what the kernel shows under these very names.
  UniqueFd proc = sys::newMount("proc", {}, kInert, "mount /proc");
  attach(std::move(proc), root_->directory("/proc", false), "/proc", true);
  UniqueFd sysfs = sys::newMount("sysfs", {}, kInert | MOUNT_ATTR_RDONLY, "mount /sys");
  attach(std::move(sysfs), root_->directory("/sys", false), "/sys", false);
  if (!zone_.pureV2) return;
  UniqueFd cgroup = sys::newMount("cgroup2", {}, kInert | MOUNT_ATTR_RDONLY, "mount /sys/fs/cgroup");
  attach(std::move(cgroup), root_->directory("/sys/fs/cgroup", false), "/sys/fs/cgroup", false);
}

void RootBuilder::makeDevNodes(const UniqueFd& dev) {
  const auto own = [&](const std::string& name) {
    if (::fchownat(dev.get(), name.c_str(), zone_.hostId(0), zone_.hostId(0), AT_SYMLINK_NOFOLLOW) != 0)
      throwErrno(kClass, "chown /dev/" + name);
  };
  for (const Node& n : kNodes) {
    if (::mknodat(dev.get(), n.name, S_IFCHR | 0666, makedev(n.major, n.minor)) != 0)
      throwErrno(kClass, std::string("make /dev/") + n.name);
    own(n.name);
  }
  for (const Link& l : kLinks) {
    if (::symlinkat(l.text, dev.get(), l.name) != 0) throwErrno(kClass, std::string("make /dev/") + l.name);
    own(l.name);
  }
  for (const char* name : {"pts", "shm", "mqueue"}) {
    if (::mkdirat(dev.get(), name, 0755) != 0) throwErrno(kClass, std::string("make /dev/") + name);
    own(name);
  }
}

void RootBuilder::mountDev() {
  // No nodev here and nowhere else: the nodes are ours, and nobody in the zone can make one.
  dev_ = sys::newMount("tmpfs",
                       {{"size", "65536"},
                        {"nr_inodes", "1024"},
                        {"mode", "755"},
                        {"uid", std::to_string(zone_.hostId(0))},
                        {"gid", std::to_string(zone_.hostId(0))}},
                       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, "mount /dev");
  makeDevNodes(dev_);
  null_ = sys::openat2(dev_.get(), "null", O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, "open /dev/null of the zone");
  root_->addFresh(dev_.get());
  sys::attachMount(dev_.get(), root_->directory("/dev", false).get(), "mount /dev");
  UniqueFd pts = sys::newMount(
      "devpts",
      {{"newinstance", ""}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", std::to_string(zone_.hostId(kTtyGroup))}, {"max", "1024"}},
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, "mount /dev/pts");
  attach(std::move(pts), root_->directory("/dev/pts", false), "/dev/pts", false);
  UniqueFd shm = tmpfs(plan_.tmpBytes, "1777", zone_.hostId(0), zone_.hostId(0), kInert, "/dev/shm");
  root_->addFresh(shm.get());
  attach(std::move(shm), root_->directory("/dev/shm", false), "/dev/shm", false);
  attach(sys::newMount("mqueue", {}, kInert, "mount /dev/mqueue"), root_->directory("/dev/mqueue", false), "/dev/mqueue", false);
  for (const auto& d : prepared_.devices) {
    // Bits of a mount do not bound a device, mode bits do: the node stays the host root's, so that nobody in a user namespace can change
    // them.
    const auto bits = static_cast<mode_t>((d.read ? 0444 : 0) | (d.write ? 0222 : 0));
    root_->makeNode(d.path, S_IFCHR | bits, d.number);
  }
}

void RootBuilder::mask(const std::string& path) {
  const UniqueFd target = root_->find(path);
  if (!target) return;
  struct stat st;
  if (::fstat(target.get(), &st) != 0) throwErrno(kClass, "stat " + path + " of the zone");
  const UniqueFd& cover = S_ISDIR(st.st_mode) ? emptyDirectory_ : null_;
  UniqueFd mount = sys::cloneMount(cover.get(), "", false, "take a cover for " + path);
  const uint64_t nodev = S_ISDIR(st.st_mode) ? MOUNT_ATTR_NODEV : 0;
  sys::setMountAttributes(mount.get(), {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | nodev},
                          "prepare the cover of " + path);
  sys::attachMount(mount.get(), target.get(), "cover " + path);
}

void RootBuilder::makeReadOnly(const std::string& path) {
  const UniqueFd target = root_->find(path);
  if (!target) return;
  UniqueFd mount = sys::cloneMount(target.get(), "", true, "copy the mount of " + path);
  sys::setMountAttributes(mount.get(), {.set = MOUNT_ATTR_RDONLY, .recursive = true}, "make " + path + " read-only");
  sys::attachMount(mount.get(), target.get(), "mount " + path + " read-only");
}

void RootBuilder::hideBootId() {
  const UniqueFd target = root_->find("/proc/sys/kernel/random/boot_id");
  if (!target) return;
  UniqueFd file(::openat(staging_.get(), "id", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444));
  if (!file) throwErrno(kClass, "make a boot id");
  writeAll(file.get(), randomUuid(), "a boot id");
  UniqueFd mount = sys::cloneMount(staging_.get(), "id", false, "take the boot id");
  sys::setMountAttributes(mount.get(), {.set = kInert | MOUNT_ATTR_RDONLY}, "prepare the boot id");
  sys::attachMount(mount.get(), target.get(), "cover the boot id");
}

void RootBuilder::maskPaths() {
  for (const char* path : kReadOnly) makeReadOnly(path);
  for (const auto& path : plan_.readOnly) makeReadOnly(path);
  hideBootId();
  for (const char* path : kMasked) mask(path);
  for (const auto& path : plan_.masked) mask(path);
}

}  // namespace rauha::agent
