#include "core/plugin_host/syscall_filter.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "core/base/error.h"

namespace rauha::plugin_host {
namespace {

constexpr std::array kAllowed = {
    // reading and writing
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "sendfile", "splice", "tee",
    "copy_file_range", "lseek", "readahead", "fadvise64", "sync_file_range", "fsync", "fdatasync", "syncfs",
    // opening and describing files
    "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "flock", "access", "faccessat", "faccessat2",
    "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "getdents", "getdents64", "readlink", "readlinkat", "getcwd",
    "chdir", "fchdir", "umask",
    // changing files: the mounts are read-only everywhere but in the plugin's own places
    "truncate", "ftruncate", "fallocate", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "unlink",
    "unlinkat", "symlink", "symlinkat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown",
    "fchownat", "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr",
    "listxattr", "llistxattr", "flistxattr", "removexattr", "lremovexattr", "fremovexattr",
    // memory
    "brk", "munmap", "mprotect", "mremap", "msync", "mincore", "madvise", "mlock", "mlock2", "munlock", "membarrier", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "mseal",
    // itself and its threads; clone is looked at below, execve and fork are not here
    "exit", "exit_group", "getpid", "getppid", "gettid", "getpgrp", "getpgid", "getsid", "set_tid_address", "set_robust_list",
    "get_robust_list", "rseq", "restart_syscall", "futex", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getpriority",
    "getrlimit", "getrusage", "times", "getcpu", "arch_prctl", "capget",
    // identity: only what its capabilities give
    "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid", "setreuid", "setregid",
    "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
    // signals: beside itself its pid namespace has only the supervisor, to which as its init the kernel delivers nothing from inside
    "kill", "tkill", "tgkill", "pause", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "sigaltstack", "signalfd", "signalfd4",
    // time
    "time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "alarm", "getitimer", "setitimer",
    "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime",
    "timerfd_gettime",
    // waiting
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
    "eventfd", "eventfd2", "pipe", "pipe2",
    // sockets that exist; which may be made is looked at below
    "bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendto", "recvfrom",
    "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown",
    // asking, and confining itself further
    "uname", "sysinfo", "getrandom", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"};

// Not there at all: libraries then take the way that the filter can look at, or a file.
constexpr std::array kHidden = {"clone3", "io_uring_setup", "userfaultfd", "memfd_create"};

// An ioctl acts on what a driver likes; these act on files and descriptors.
constexpr std::array<unsigned, 9> kIoctls = {FIOCLEX, FIONCLEX,     FIONBIO,         FIONREAD,     TCGETS,
                                             FICLONE, FICLONERANGE, FS_IOC_GETFLAGS, FS_IOC_FIEMAP};
// No leases and no signals: those reach whoever else uses the file.
constexpr std::array<unsigned, 14> kFcntls = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,     F_GETFL,      F_SETFL,      F_GETLK,
                                              F_SETLK, F_SETLKW,        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_SETPIPE_SZ};
constexpr std::array kPrctls = {PR_SET_NAME,         PR_GET_NAME,      PR_GET_DUMPABLE,   PR_SET_NO_NEW_PRIVS,
                                PR_GET_NO_NEW_PRIVS, PR_SET_SECCOMP,   PR_CAPBSET_READ,   PR_SET_VMA,
                                PR_GET_SECCOMP,      PR_GET_PDEATHSIG, PR_SET_TIMERSLACK, PR_SET_THP_DISABLE};

class Filter final {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release) {
    if (context_ == nullptr) throw Error("plugin", Code::limit, "out of memory for the system call filter");
  }

  template <typename... Conditions>
  void rule(uint32_t action, const char* call, Conditions... conditions) {
    const int number = seccomp_syscall_resolve_name(call);
    if (number == __NR_SCMP_ERROR || number < 0) return;  // not of this architecture, or newer than the library: stays refused
    const int error = -seccomp_rule_add(context_.get(), action, number, sizeof...(conditions), conditions...);
    if (error != 0) throw osError("plugin", std::string("system call filter: rule for ") + call, error);
    if (action == SCMP_ACT_ALLOW) ++allowed_;
  }
  void allow(const char* call) { rule(SCMP_ACT_ALLOW, call); }

  size_t load() {
    const int error = -seccomp_load(context_.get());
    if (error != 0) throw osError("plugin", "load the system call filter", error);
    return allowed_;
  }

 private:
  std::unique_ptr<void, void (*)(void*)> context_;
  size_t allowed_ = 0;
};

}  // namespace

size_t loadSyscallFilter(bool network) {
  Filter filter;
  for (const char* call : kAllowed) filter.allow(call);
  for (const char* call : kHidden) filter.rule(SCMP_ACT_ERRNO(ENOSYS), call);
  // Threads only: no process that outlives or escapes, no namespaces.
  constexpr unsigned long kThread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
  constexpr unsigned long kNamespaces =
      CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  filter.rule(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kThread | kNamespaces, kThread));
  // No AF_UNIX: behind a socket's name in a tree that a client handed in, or an abstract one of the host's network, is somebody's service.
  // A pair is connected for good, but for datagrams, which can still be sent to any name.
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET})
    filter.rule(SCMP_ACT_ALLOW, "socketpair", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xfu, static_cast<unsigned>(type)));
  if (network)
    for (const int family : {AF_INET, AF_INET6, AF_NETLINK})
      filter.rule(SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, static_cast<unsigned>(family)));
  // 0 is whoever calls. By number they would reach the supervisor too, which has the same user: with a limit of one descriptor it could
  // not report how this process ended.
  for (const char* call : {"prlimit64", "sched_setaffinity"})
    filter.rule(SCMP_ACT_ALLOW, call, SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0u));
  for (const int option : kPrctls) filter.rule(SCMP_ACT_ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, static_cast<unsigned>(option)));
  // The kernel looks at the lower half alone.
  for (const unsigned request : kIoctls) filter.rule(SCMP_ACT_ALLOW, "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, request));
  for (const unsigned command : kFcntls) filter.rule(SCMP_ACT_ALLOW, "fcntl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, command));
  // Shared memory without a file is memory that no limit of the process counts.
  filter.rule(SCMP_ACT_ALLOW, "mmap", SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));
  filter.rule(SCMP_ACT_ALLOW, "mmap", SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_TYPE, MAP_PRIVATE));
  return filter.load();
}

}  // namespace rauha::plugin_host
