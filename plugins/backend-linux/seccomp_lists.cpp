#include "plugins/backend-linux/seccomp_lists.h"

#include <linux/capability.h>

#include <string>

#include "core/base/never_calls.h"

namespace rauha::backend {
namespace {

constexpr CallGroup kCommon[] = {
    {"reading and writing",
     "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 sendfile splice tee vmsplice copy_file_range lseek readahead fadvise64 "
     "sync_file_range fsync fdatasync sync syncfs"},
    {"opening and describing files",
     "open openat openat2 creat close close_range dup dup2 dup3 fcntl flock access faccessat faccessat2 stat fstat lstat newfstatat statx statfs fstatfs "
     "getdents getdents64 readlink readlinkat getcwd chdir fchdir umask cachestat name_to_handle_at"},
    {"changing files; owners and modes are bounded by the zone's ids and by no_new_privs",
     "truncate ftruncate fallocate rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat mknod mknodat chmod fchmod "
     "fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr "
     "getxattrat listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat"},
    {"memory",
     "brk mmap munmap mprotect mremap msync mincore madvise mlock mlock2 munlock mlockall munlockall memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect "
     "remap_file_pages membarrier mseal map_shadow_stack process_mrelease"},
    {"processes and threads of the zone; ptrace reaches no further than the pid namespace (safe since Linux 4.8)",
     "fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid getpgid setpgid getpgrp getsid setsid prctl arch_prctl ptrace pidfd_open "
     "pidfd_send_signal set_tid_address set_robust_list get_robust_list rseq restart_syscall futex futex_waitv futex_wake futex_wait futex_requeue"},
    {"identity: only ids of the zone's own range exist",
     "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capget capset"},
    {"scheduling and limits of own processes",
     "sched_yield sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
     "sched_getaffinity sched_setaffinity sched_getattr sched_setattr getpriority setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times "
     "getcpu"},
    {"signals",
     "kill tkill tgkill pause rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack "
     "signalfd signalfd4"},
    {"time: the kernel refuses to set it without the capability",
     "time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep adjtimex clock_adjtime alarm getitimer setitimer timer_create timer_settime "
     "timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime"},
    {"waiting for events",
     "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 "
     "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch pipe pipe2"},
    {"sockets that exist already; which may be made is looked at in socket(2)",
     "bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown"},
    {"System V and POSIX inter-process communication, bounded by the ipc namespace",
     "semget semop semtimedop semctl shmget shmat shmdt shmctl msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"},
    {"kernel asynchronous input and output (not io_uring)", "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents"},
    {"asking about the system", "uname sysinfo getrandom"},
    {"a sandbox within the sandbox", "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"},
    {"devices and terminals; the requests that type into a terminal are refused before this", "ioctl"},
};

constexpr ConditionalGroup kConditional[] = {
    {CAP_SYS_ADMIN,
     false,
     {"mounts and namespaces of its own",
      "mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr statmount listmount setns unshare clone clone3 "
      "sethostname setdomainname fanotify_init fanotify_mark"}},
    {CAP_SYS_CHROOT, false, {"changing its root", "chroot"}},
    {CAP_SYS_PTRACE,
     false,
     {"looking into other processes of the zone", "process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd"}},
    {CAP_SYS_NICE, false, {"placing memory", "mbind get_mempolicy set_mempolicy set_mempolicy_home_node move_pages migrate_pages"}},
    {CAP_SYS_TIME, false, {"setting clocks", "settimeofday clock_settime"}},
    {CAP_SYS_TTY_CONFIG, false, {"hanging up terminals", "vhangup"}},
    {CAP_SYSLOG, false, {"the kernel's log", "syslog"}},
    {CAP_SYS_BOOT, true, {"restarting and replacing the kernel", "reboot kexec_load kexec_file_load"}},
    {CAP_SYS_MODULE, true, {"kernel modules", "init_module finit_module delete_module"}},
    {CAP_SYS_RAWIO, true, {"ports", "iopl ioperm"}},
    {CAP_SYS_PACCT, true, {"process accounting", "acct"}},
    {CAP_DAC_READ_SEARCH, true, {"opening files by handle, past every path check", "open_by_handle_at"}},
    {CAP_BPF, true, {"kernel programs", "bpf"}},
    {CAP_PERFMON, true, {"performance counters", "perf_event_open"}},
    {CAP_SYS_ADMIN, true, {"administration of the host", "quotactl quotactl_fd swapon swapoff bpf perf_event_open lookup_dcookie"}},
};

constexpr std::string_view kHidden =
    "clone3 statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules open_tree_attr file_getattr file_setattr";
constexpr std::string_view kIndispensable = "execve exit exit_group read write close rt_sigreturn";

constexpr NewCall kNew[] = {
    {"cachestat", 451},        {"fchmodat2", 452},      {"map_shadow_stack", 453}, {"futex_wake", 454},        {"futex_wait", 455},
    {"futex_requeue", 456},    {"statmount", 457},      {"listmount", 458},        {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460},
    {"lsm_list_modules", 461}, {"mseal", 462},          {"setxattrat", 463},       {"getxattrat", 464},        {"listxattrat", 465},
    {"removexattrat", 466},    {"open_tree_attr", 467}, {"file_getattr", 468},     {"file_setattr", 469},
};

std::string joined() {
  std::string out;
  for (const CallGroup& g : kCommon) (out += g.names) += '\n';
  for (const ConditionalGroup& g : kConditional) (out += std::to_string(g.capability) + (g.privilegedOnly ? " p " : " ")) += g.calls.names;
  for (const NeverCalls& g : neverCalls()) (out += g.names) += '\n';
  for (const NewCall& c : kNew) (out += c.name) += std::to_string(c.number);
  return out.append(kHidden).append(kIndispensable);
}

}  // namespace

std::span<const CallGroup> commonCalls() noexcept { return kCommon; }
std::span<const ConditionalGroup> conditionalCalls() noexcept { return kConditional; }
std::string_view hiddenCalls() noexcept { return kHidden; }
std::string_view indispensableCalls() noexcept { return kIndispensable; }
std::span<const NewCall> newCalls() noexcept { return kNew; }
int newestKnownCall() noexcept { return kNew[std::size(kNew) - 1].number; }
std::string_view listsFingerprint() {
  static const std::string text = joined();
  return text;
}

}  // namespace rauha::backend
