#include "plugins/linux-common/syscalls.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#ifdef RAUHA_FAULT_POINTS
#include "plugins/linux-common/testing/fault_point.h"
#endif

namespace rauha::sys {
namespace {

constexpr std::string_view kClass = "zone";

// What builds zones goes through here: tests make each of these calls fail once.
template <typename... Arguments>
long kernel(Arguments... arguments) noexcept {
#ifdef RAUHA_FAULT_POINTS
  return testing::faultyCall(arguments...);
#else
  return ::syscall(arguments...);
#endif
}

UniqueFd checked(long result, std::string_view what) {
  if (result < 0) throwErrno(kClass, what);
  return UniqueFd(static_cast<int>(result));
}

void check(long result, std::string_view what) {
  if (result < 0) throwErrno(kClass, what);
}

// The kernel explains a failed fsconfig in messages on the descriptor ("e overlay: …"); without them EINVAL says nothing.
[[noreturn]] void throwMountError(int fsfd, std::string_view what) {
  const int error = errno;
  char buffer[256];
  const ssize_t n = ::read(fsfd, buffer, sizeof buffer - 1);
  std::string text(what);
  if (n > 2) text += " (" + std::string(buffer + 2, static_cast<size_t>(n - 2)) + ")";
  throw osError(kClass, text, error);
}

}  // namespace

Child clone3(const Clone& options, std::string_view what) {
  int pidfd = -1;
  struct clone_args args = {};
  args.flags = options.flags | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (options.cgroupFd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(options.cgroupFd);
  }
  const long pid = kernel(SYS_clone3, &args, sizeof args);
  if (pid < 0) throwErrno(kClass, what);
  Child child;
  child.pid = static_cast<pid_t>(pid);
  if (pid > 0) child.pidfd.reset(pidfd);
  return child;
}

UniqueFd pidfdOpen(pid_t pid) { return checked(kernel(SYS_pidfd_open, pid, 0), "pidfd_open " + std::to_string(pid)); }

bool pidfdSendSignal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  throwErrno(kClass, "send signal " + std::to_string(signal));
}

void setns(int fd, int flags, std::string_view what) { check(kernel(SYS_setns, fd, flags), what); }
void unshare(int flags, std::string_view what) { check(kernel(SYS_unshare, flags), what); }

bool resetOomScoreRaw() noexcept {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = ::write(fd, "0", 1) == 1 || errno == EACCES;
  ::close(fd);
  return ok;
}

int closeRangeRaw(unsigned first, unsigned last, unsigned flags) noexcept {
  return static_cast<int>(kernel(SYS_close_range, first, last, flags));
}

int openat2Raw(int dirfd, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) noexcept {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  long fd;
  // EAGAIN: a rename raced with the walk, which openat2 cannot rule out; the kernel asks to try again.
  int tries = 0;
  do {
    fd = kernel(SYS_openat2, dirfd, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 64)));
  return static_cast<int>(fd);
}

UniqueFd openat2(int dirfd, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve, std::string_view what) {
  return checked(openat2Raw(dirfd, path, flags, mode, resolve), what);
}

UniqueFd newMount(const char* type, std::initializer_list<MountOption> options, unsigned attributes, std::string_view what) {
  UniqueFd fs = checked(kernel(SYS_fsopen, type, FSOPEN_CLOEXEC), what);
  for (const auto& o : options) {
    const long r = o.value.empty() ? kernel(SYS_fsconfig, fs.get(), FSCONFIG_SET_FLAG, o.key, nullptr, 0)
                                   : kernel(SYS_fsconfig, fs.get(), FSCONFIG_SET_STRING, o.key, o.value.c_str(), 0);
    if (r < 0) throwMountError(fs.get(), std::string(what) + ", option " + o.key);
  }
  if (kernel(SYS_fsconfig, fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) throwMountError(fs.get(), what);
  return checked(kernel(SYS_fsmount, fs.get(), FSMOUNT_CLOEXEC, attributes), what);
}

UniqueFd cloneMount(int dirfd, const char* path, bool recursive, std::string_view what) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u) | (*path == '\0' ? AT_EMPTY_PATH : 0u);
  return checked(kernel(SYS_open_tree, dirfd, path, flags), what);
}

int setMountAttributesRaw(int mountFd, const MountChange& change) noexcept {
  struct mount_attr attr = {};
  attr.attr_set = change.set;
  attr.attr_clr = change.clear;
  if (change.makePrivate) attr.propagation = MS_PRIVATE;
  if (change.idmapUserns >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = static_cast<uint64_t>(change.idmapUserns);
  }
  const unsigned flags = AT_EMPTY_PATH | (change.recursive ? AT_RECURSIVE : 0u);
  return static_cast<int>(kernel(SYS_mount_setattr, mountFd, "", flags, &attr, sizeof attr));
}

void setMountAttributes(int mountFd, const MountChange& change, std::string_view what) {
  check(setMountAttributesRaw(mountFd, change), what);
}

void attachMount(int mountFd, int target, std::string_view what) {
  check(kernel(SYS_move_mount, mountFd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), what);
}

void pivotToCwd() {
  check(kernel(SYS_pivot_root, ".", "."), "pivot_root");
  check(kernel(SYS_umount2, ".", MNT_DETACH), "detach the old root");
  check(::chdir("/"), "enter the new root");
  // ".." of the root follows whatever is still mounted over it: anything there would be the old root, one setns(2) away.
  struct statx root = {}, over = {};
  check(::statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &root), "stat the new root");
  check(::statx(AT_FDCWD, "/..", 0, STATX_INO | STATX_MNT_ID, &over), "stat the new root");
  if (root.stx_mnt_id != over.stx_mnt_id || root.stx_ino != over.stx_ino)
    throw Error(kClass, Code::internal, "the old root is still mounted over the new one");
}

int seccompFilterRaw(const void* program, uint16_t instructions) noexcept {
  struct sock_fprog prog = {};
  prog.len = instructions;
  prog.filter = static_cast<struct sock_filter*>(const_cast<void*>(program));
  return static_cast<int>(kernel(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

int landlockAbi() noexcept {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

int capsetRaw(uint64_t effective, uint64_t permitted, uint64_t inheritable) noexcept {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].effective = static_cast<uint32_t>(effective >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(permitted >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
  }
  return static_cast<int>(kernel(SYS_capset, &header, data));
}

int keyctlJoinSessionRaw() noexcept { return static_cast<int>(kernel(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0)); }

}  // namespace rauha::sys
