// The programs, read by an interpreter of classic BPF (every question, no kernel), and loaded into children (the kernel agrees).
#include "plugins/backend-linux/seccomp_profile.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/never_calls.h"
#include "plugins/backend-linux/seccomp_lists.h"
#include "plugins/backend-linux/seccomp_prologue.h"

namespace rauha::backend {
namespace {

const uint32_t kArch = nativeArch();
constexpr uint32_t kAllowed = SECCOMP_RET_ALLOW, kEperm = SECCOMP_RET_ERRNO | EPERM, kEnosys = SECCOMP_RET_ERRNO | ENOSYS,
                   kKill = SECCOMP_RET_KILL_PROCESS;

// The instructions that seccomp admits and libseccomp emits; anything else fails the test. readable: how much of the data may be looked at.
uint32_t interpret(const std::string& bytes, const seccomp_data& data, size_t readable = sizeof(seccomp_data)) {
  std::vector<sock_filter> code(bytes.size() / sizeof(sock_filter));
  memcpy(code.data(), bytes.data(), bytes.size());
  uint32_t a = 0;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    const sock_filter& i = code[pc];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (i.k + 4 > readable) return 0xDEAD0001;
        memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= i.k;
        break;
      case BPF_JMP | BPF_JA:
        pc += i.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        pc += a > i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        pc += a >= i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        pc += (a & i.k) != 0 ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        return 0xDEAD0000 | i.code;
    }
  }
  return 0xDEAD0002;
}

int number(const char* name) {
  for (const NewCall& c : newCalls())
    if (c.name == name) return c.number;
  return seccomp_syscall_resolve_name(name);
}

struct Program {
  std::string bytes;
  uint32_t call(int nr, std::vector<uint64_t> arguments = {}, uint32_t arch = kArch) const {
    seccomp_data data{};
    data.nr = nr;
    data.arch = arch;
    std::copy(arguments.begin(), arguments.end(), data.args);
    return interpret(bytes, data);
  }
  uint32_t operator()(const char* name, std::vector<uint64_t> arguments = {}) const { return call(number(name), std::move(arguments)); }
};

Program standard(std::vector<uint8_t> capabilities = {}, std::vector<std::string> deny = {}, std::vector<std::string> allow = {}) {
  return {compileFilter({std::move(capabilities), std::move(deny), std::move(allow), false})};
}
Program privileged(std::vector<uint8_t> capabilities = {}, std::vector<std::string> deny = {}, std::vector<std::string> allow = {}) {
  return {compileFilter({std::move(capabilities), std::move(deny), std::move(allow), true})};
}

Error refusal(const SeccompRequest& request) {
  try {
    compileFilter(request);
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "compiled";
  return Error("test", Code::none, "");
}

TEST(SeccompProfile, OrdinaryProgramsRun) {
  const Program p = standard();
  for (const char* name :
       {"read", "openat", "openat2", "execve", "mmap", "futex", "epoll_wait", "sendmsg", "chmod", "mknodat", "rseq", "statx", "seccomp",
        "landlock_create_ruleset", "landlock_restrict_self", "prctl", "ptrace", "fchmodat2", "mseal"})
    EXPECT_EQ(p(name), kAllowed) << name;
}

TEST(SeccompProfile, WhatReachesBeyondTheZoneIsRefused) {
  const Program p = standard();
  for (const char* name : {"mount",
                           "umount2",
                           "pivot_root",
                           "setns",
                           "bpf",
                           "perf_event_open",
                           "userfaultfd",
                           "io_uring_setup",
                           "io_uring_enter",
                           "io_uring_register",
                           "keyctl",
                           "add_key",
                           "request_key",
                           "kexec_load",
                           "init_module",
                           "finit_module",
                           "open_by_handle_at",
                           "quotactl",
                           "swapon",
                           "reboot",
                           "settimeofday",
                           "clock_settime",
                           "process_vm_readv",
                           "process_vm_writev",
                           "kcmp",
                           "syslog",
                           "acct",
                           "chroot",
                           "mbind",
                           "move_mount",
                           "fsopen",
                           "open_tree",
                           "mount_setattr",
                           "lookup_dcookie",
                           "vhangup",
                           "pidfd_getfd",
                           "fanotify_init"})
    EXPECT_EQ(p(name), kEperm) << name;
#if defined(__x86_64__)
  for (const char* name : {"iopl", "ioperm", "modify_ldt", "uselib", "_sysctl", "ustat", "sysfs"}) EXPECT_EQ(p(name), kEperm) << name;
#endif
}

TEST(SeccompProfile, NewAndHiddenCallsFailAsIfTheKernelWereOlder) {
  const Program p = standard();
  EXPECT_EQ(p("clone3"), kEnosys);
  EXPECT_EQ(p("statmount"), kEnosys);
  EXPECT_EQ(p("open_tree_attr"), kEnosys);
  EXPECT_EQ(p.call(newestKnownCall() + 1), kEnosys);
  EXPECT_EQ(p.call(9999), kEnosys);
}

TEST(SeccompProfile, ForeignArchitecturesAreKilled) {
  for (const Program& p : {standard(), privileged(), Program{compileNoSuidFilter()}}) {
    EXPECT_EQ(p.call(1, {}, AUDIT_ARCH_I386), kKill);
    EXPECT_EQ(p.call(1, {}, AUDIT_ARCH_ARM), kKill);
  }
#if defined(__x86_64__)
  EXPECT_EQ(standard().call(0x40000000 | 1), kKill);  // x32
  EXPECT_EQ(standard().call(-1), kEperm);             // what a tracer leaves behind when it skips a call
  EXPECT_EQ(privileged().call(0x40000000 | 1), kKill);
#endif
}

TEST(SeccompProfile, CloneMakesThreadsButNoNamespaces) {
  const Program p = standard();
  EXPECT_EQ(p("clone", {SIGCHLD}), kAllowed);
  EXPECT_EQ(p("clone", {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                        CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID}),
            kAllowed);
  EXPECT_EQ(p("clone", {CLONE_VM | CLONE_VFORK | SIGCHLD}), kAllowed);
  for (const uint32_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    EXPECT_EQ(p("clone", {flag | SIGCHLD}), kEperm) << flag;
    EXPECT_EQ(p("unshare", {flag}), kEperm) << flag;
    EXPECT_EQ(p("unshare", {flag | uint64_t{7} << 32}), kEperm) << "junk above 32 bits, " << flag;
  }
  EXPECT_EQ(p("unshare", {CLONE_NEWTIME}), kEperm);
  EXPECT_EQ(p("unshare", {CLONE_FILES}), kAllowed);
  const Program admin = standard({CAP_SYS_ADMIN});
  EXPECT_EQ(admin("clone", {CLONE_NEWUSER | SIGCHLD}), kAllowed);
  EXPECT_EQ(admin("clone3"), kAllowed);
  EXPECT_EQ(admin("mount"), kAllowed);
  EXPECT_EQ(admin("bpf"), kEperm);
  EXPECT_EQ(admin("swapon"), kEperm);
}

TEST(SeccompProfile, SocketFamilies) {
  const Program p = standard();
  EXPECT_EQ(p("socket", {AF_UNIX, SOCK_STREAM, 0}), kAllowed);
  EXPECT_EQ(p("socket", {AF_INET, SOCK_STREAM, 0}), kAllowed);
  EXPECT_EQ(p("socket", {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}), kAllowed);
  EXPECT_EQ(p("socket", {AF_NETLINK, SOCK_RAW, NETLINK_ROUTE}), kAllowed);
  EXPECT_EQ(p("socket", {uint64_t{5} << 32 | AF_INET, SOCK_STREAM, 0}), kAllowed);  // the kernel sees AF_INET
  for (uint64_t family = 0; family < 64; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK) continue;
    EXPECT_EQ(p("socket", {family, SOCK_STREAM, 0}), SECCOMP_RET_ERRNO | EAFNOSUPPORT) << family;
    EXPECT_EQ(p("socket", {uint64_t{1} << 32 | family, SOCK_STREAM, 0}), SECCOMP_RET_ERRNO | EAFNOSUPPORT) << family;
  }
  for (uint64_t protocol = 1; protocol < 32; ++protocol)
    EXPECT_EQ(p("socket", {AF_NETLINK, SOCK_RAW, protocol}), SECCOMP_RET_ERRNO | EPROTONOSUPPORT) << protocol;
  for (const uint64_t protocol : {132, 33, 136, 115})
    EXPECT_EQ(p("socket", {AF_INET, SOCK_STREAM, protocol}), SECCOMP_RET_ERRNO | EPROTONOSUPPORT) << protocol;
  EXPECT_EQ(p("socketpair", {AF_UNIX, SOCK_STREAM, 0}), kAllowed);
  EXPECT_NE(p("socketpair", {AF_INET, SOCK_STREAM, 0}), kAllowed);
  const Program raw = standard({CAP_NET_RAW});
  EXPECT_EQ(raw("socket", {AF_PACKET, SOCK_RAW, 0}), kAllowed);
  EXPECT_EQ(raw("socket", {AF_INET, SOCK_RAW, 255}), kAllowed);
  EXPECT_NE(raw("socket", {AF_VSOCK, SOCK_STREAM, 0}), kAllowed);
}

TEST(SeccompProfile, TerminalsCannotBeTypedInto) {
  for (const Program& p : {standard(), privileged(), standard({CAP_SYS_ADMIN})}) {
    EXPECT_EQ(p("ioctl", {0, TIOCSTI}), kEperm);
    EXPECT_EQ(p("ioctl", {0, TIOCLINUX}), kEperm);
    EXPECT_EQ(p("ioctl", {0, uint64_t{1} << 32 | TIOCSTI}), kEperm);  // the kernel cuts it to TIOCSTI
    EXPECT_EQ(p("ioctl", {0, TCGETS}), kAllowed);
    EXPECT_EQ(p("ioctl", {0, TIOCGWINSZ}), kAllowed);
  }
}

TEST(SeccompProfile, NoLeasesOnFilesOfTheHost) {
  constexpr uint64_t kSetDelegation = 1040;
  for (const Program& p : {standard(), privileged(), standard({CAP_SYS_ADMIN, CAP_LEASE})}) {
    for (const uint64_t command : {uint64_t{F_SETLEASE}, uint64_t{F_NOTIFY}, kSetDelegation}) {
      EXPECT_EQ(p("fcntl", {0, command}), kEperm) << command;
      EXPECT_EQ(p("fcntl", {0, uint64_t{1} << 32 | command}), kEperm) << command;
    }
    for (const uint64_t command : {F_GETLEASE, F_SETLK, F_OFD_SETLKW, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_ADD_SEALS, F_SETFL, F_SETOWN})
      EXPECT_EQ(p("fcntl", {0, command}), kAllowed) << command;
  }
  EXPECT_EQ(standard({}, {"fcntl"})("fcntl", {0, F_GETFD}), kEperm) << "a policy's deny stands";
}

TEST(SeccompProfile, Personalities) {
  const Program p = standard();
  for (const uint64_t persona : {0u, 8u, 0x40000u, 0xFFFFFFFFu}) EXPECT_EQ(p("personality", {persona}), kAllowed) << persona;
  for (const uint64_t persona : {0x0400000u, 0x0100000u, 6u}) EXPECT_EQ(p("personality", {persona}), kEperm) << persona;
}

TEST(SeccompProfile, CapabilitiesBringTheirCalls) {
  EXPECT_EQ(standard({CAP_SYS_CHROOT})("chroot"), kAllowed);
  EXPECT_EQ(standard({CAP_SYS_PTRACE})("process_vm_readv"), kAllowed);
  EXPECT_EQ(standard({CAP_SYS_TIME})("clock_settime"), kAllowed);
  // These would reach the host's kernel: not in a user namespace, whatever is granted.
  EXPECT_EQ(standard({CAP_SYS_MODULE})("init_module"), kEperm);
  EXPECT_EQ(standard({CAP_SYS_BOOT})("reboot"), kEperm);
  EXPECT_EQ(standard({CAP_DAC_READ_SEARCH})("open_by_handle_at"), kEperm);
  EXPECT_EQ(standard({CAP_BPF})("bpf"), kEperm);
}

TEST(SeccompProfile, PolicyDeniesAndAllowsAndDenyWins) {
  EXPECT_EQ(standard({}, {"ptrace", "chmod"})("ptrace"), kEperm);
  EXPECT_EQ(standard({}, {"socket"})("socket", {AF_UNIX, SOCK_STREAM, 0}) & 0xFFFF0000, SECCOMP_RET_ERRNO);
  EXPECT_EQ(standard({}, {"clone"})("clone", {SIGCHLD}), kEperm);
  EXPECT_EQ(standard({}, {"ioctl"})("ioctl", {0, TCGETS}), kEperm);
  EXPECT_EQ(standard({}, {"personality"})("personality", {0}), kEperm);
  EXPECT_EQ(standard({}, {}, {"userfaultfd"})("userfaultfd"), kAllowed);
  EXPECT_EQ(standard({}, {"userfaultfd"}, {"userfaultfd"})("userfaultfd"), kEperm);
  EXPECT_EQ(standard({}, {}, {"read"})("read"), kAllowed);
  EXPECT_EQ(standard({CAP_SYS_ADMIN}, {"mount"})("mount"), kEperm);
}

TEST(SeccompProfile, NamesThatCannotBe) {
  EXPECT_EQ(refusal({{}, {"frobnicate"}, {}, false}).errorClass(), "policy");
  EXPECT_NE(refusal({{}, {}, {"frobnicate"}, false}).text().find("frobnicate"), std::string::npos);
  for (const char* never :
       {"kexec_load", "io_uring_setup", "clone3", "socket", "open_by_handle_at", "keyctl", "setns", "mount", "bpf", "unshare"}) {
    const Error e = refusal({{}, {}, {never}, false});
    EXPECT_EQ(e.code(), Code::denied) << never;
    EXPECT_NE(e.text().find(never), std::string::npos);
  }
  EXPECT_EQ(refusal({{}, {"execve"}, {}, false}).code(), Code::invalid);
  EXPECT_EQ(standard({CAP_SYS_ADMIN}, {}, {"mount"})("mount"), kAllowed);  // came with the capability
}

// The policy's reader refuses the same calls with their line, so that nobody meets the refusal above without one.
TEST(SeccompProfile, TheReaderOfPoliciesRefusesTheSame) {
  const std::vector<std::string_view> sysAdmin = {"sys_admin"};
  const auto refused = [](const SeccompRequest& request) {
    try {
      compileFilter(request);
      return false;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::denied) << e.text();
      return true;
    }
  };
  std::istringstream names("userfaultfd ptrace mlock chroot");
  for (const NeverCalls& g : neverCalls()) names.str(names.str() + " " + std::string(g.names));
  for (std::string name; names >> name;) {
    EXPECT_EQ(refused({{}, {}, {name}, false}), neverAllowed(name, {}) != nullptr) << name;
    EXPECT_EQ(refused({{CAP_SYS_ADMIN}, {}, {name}, false}), neverAllowed(name, sysAdmin) != nullptr) << name << " with sys_admin";
  }
}

TEST(SeccompProfile, EveryNameInTheListsExists) {
  auto check = [](std::string_view names) {
    for (size_t at = 0; at < names.size();) {
      const size_t end = std::min(names.find(' ', at), names.size());
      const std::string name(names.substr(at, end - at));
      EXPECT_NE(number(name.c_str()), __NR_SCMP_ERROR) << name;
      at = end + 1;
    }
  };
  for (const CallGroup& g : commonCalls()) check(g.names);
  for (const ConditionalGroup& g : conditionalCalls()) check(g.calls.names);
  for (const NeverCalls& g : neverCalls()) check(g.names);
  check(hiddenCalls());
  check(indispensableCalls());
}

TEST(SeccompProfile, PrivilegedZonesAreWideButNotTheKernel) {
  const Program p = privileged();
  for (const char* name : {"mount", "setns", "chroot", "clone3", "io_uring_setup"}) EXPECT_EQ(p(name), kAllowed) << name;
  EXPECT_EQ(p("socket", {AF_VSOCK, SOCK_STREAM, 0}), kAllowed);
  EXPECT_EQ(p.call(9999), kAllowed);
  for (const char* name : {"kexec_load", "init_module", "finit_module", "reboot", "open_by_handle_at", "keyctl", "bpf", "swapon", "acct"})
    EXPECT_EQ(p(name), kEperm) << name;
  EXPECT_EQ(privileged({CAP_SYS_MODULE})("init_module"), kAllowed);
  EXPECT_EQ(privileged({CAP_SYS_MODULE}, {"init_module"})("init_module"), kEperm);
  EXPECT_EQ(privileged({CAP_SYS_ADMIN})("bpf"), kAllowed);
}

// What `deny` refuses must not be had under another name.
TEST(SeccompProfile, DenyTakesTheSameOperationsOtherNamesAlong) {
  const Program p = privileged({}, {"mkdir", "mkdirat"});
  for (const char* name : {"mkdir", "mkdirat"}) EXPECT_EQ(p(name), kEperm) << name;
  for (const char* name : {"io_uring_setup", "io_uring_enter", "io_uring_register"}) EXPECT_EQ(p(name), kEnosys) << name;
  EXPECT_EQ(p("clone3"), kAllowed);
  EXPECT_EQ(privileged({}, {"clone"})("clone3"), kEnosys);
  EXPECT_EQ(privileged({}, {"clone", "clone3"})("clone3"), kEperm);
  EXPECT_EQ(privileged({}, {"openat"})("openat2"), kEnosys);
  EXPECT_EQ(Program{compileFilter({{}, {"mkdir"}, {"io_uring_setup"}, true})}("io_uring_setup"), kAllowed) << "named by allow";
  for (const auto& [first, second] :
       {std::pair{"openat", "openat2"}, std::pair{"renameat", "renameat2"}, std::pair{"fchmodat", "fchmodat2"}})
    EXPECT_EQ(Program{compileFilter({{}, {first}, {}, false})}(second), kEnosys) << second;
}

// Then the kernel answers from a bitmap, without running the program (kernel/seccomp.c, seccomp_is_const_allow): what a task does all the
// time.
TEST(SeccompProfile, FilesAreReadWithoutALookAtArguments) {
  for (const auto& p : {standard(), privileged(), standard({}, {"ptrace"})})
    for (const char* name :
         {"openat", "openat2", "read", "pread64", "close", "fstat", "newfstatat", "statx", "lseek", "getdents64", "readlinkat"}) {
      seccomp_data data{};
      data.nr = number(name);
      data.arch = kArch;
      EXPECT_EQ(interpret(p.bytes, data, offsetof(seccomp_data, instruction_pointer)), kAllowed) << name;
    }
}

TEST(SeccompProfile, NoSetUserIdBits) {
  const Program p{compileNoSuidFilter()};
  for (const uint64_t bit : {04000, 02000, 06755}) {
    EXPECT_EQ(p("fchmod", {3, bit | 0755}), kEperm);
    EXPECT_EQ(p("fchmodat", {3, 0, bit}), kEperm);
    EXPECT_EQ(p("fchmodat2", {3, 0, bit, 0}), kEperm);
    EXPECT_EQ(p("mkdirat", {3, 0, bit}), kEperm);
    EXPECT_EQ(p("mknodat", {3, 0, S_IFREG | bit}), kEperm);
    EXPECT_EQ(p("openat", {3, 0, O_CREAT | O_WRONLY, bit}), kEperm);
    EXPECT_EQ(p("openat", {3, 0, O_TMPFILE | O_RDWR, bit}), kEperm);
    EXPECT_EQ(p("openat", {3, 0, O_RDONLY, bit}), kAllowed);  // no file is made: the mode is junk
#if defined(__x86_64__)
    EXPECT_EQ(p("chmod", {0, bit}), kEperm);
    EXPECT_EQ(p("creat", {0, bit}), kEperm);
    EXPECT_EQ(p("mkdir", {0, bit}), kEperm);
    EXPECT_EQ(p("mknod", {0, S_IFREG | bit}), kEperm);
    EXPECT_EQ(p("open", {0, O_CREAT, bit}), kEperm);
#endif
  }
  EXPECT_EQ(p("fchmod", {3, 01777}), kAllowed);
  EXPECT_EQ(p("openat", {3, 0, O_CREAT, 0644}), kAllowed);
  EXPECT_EQ(p("openat2"), kEnosys);
  EXPECT_EQ(p("read"), kAllowed);
}

// ---- the kernel's own opinion ----

template <typename F>
int inChild(const std::vector<std::string>& programs, F&& f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(250);
    for (const std::string& bytes : programs) {
      const sock_fprog program{static_cast<unsigned short>(bytes.size() / sizeof(sock_filter)),
                               reinterpret_cast<sock_filter*>(const_cast<char*>(bytes.data()))};
      if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) ::_exit(251);
    }
    ::_exit(f());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(SeccompInKernel, RefusedCallsFail) {
  const std::string filter = standard().bytes;
  EXPECT_EQ(inChild({filter}, [] { return ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno; }), EPERM);
  EXPECT_EQ(inChild({filter}, [] { return ::socket(AF_VSOCK, SOCK_STREAM, 0) >= 0 ? 0 : errno; }), EAFNOSUPPORT);
  EXPECT_EQ(inChild({filter},
                    [] {
                      char c = 'x';
                      return ::ioctl(0, TIOCSTI, &c) == 0 ? 0 : errno;
                    }),
            EPERM);
  const UniqueFd file(::open(std::filesystem::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const auto lease = [&] { return ::fcntl(file.get(), F_SETLEASE, F_WRLCK) == 0 ? 0 : errno; };
  EXPECT_EQ(inChild({}, lease), 0) << "the control";
  EXPECT_EQ(inChild({filter}, lease), EPERM);
  EXPECT_EQ(inChild({filter}, [] { return syscall(SYS_clone3, nullptr, 0) >= 0 ? 0 : errno; }), ENOSYS);
  EXPECT_EQ(inChild({filter}, [] { return syscall(SYS_bpf, 0, nullptr, 0) >= 0 ? 0 : errno; }), EPERM);
}

TEST(SeccompInKernel, SuidBitsAreRefused) {
  std::string name = (std::filesystem::temp_directory_path() / "rauha-suid-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(name.data());
  const std::vector<std::string> programs = {standard().bytes, compileNoSuidFilter()};
  const std::string file = directory / "f", inner = directory / "d";
  EXPECT_EQ(inChild(programs, [&] { return ::open(file.c_str(), O_CREAT | O_WRONLY, 04755) >= 0 ? 0 : errno; }), EPERM);
  EXPECT_EQ(inChild(programs, [&] { return ::open(file.c_str(), O_CREAT | O_WRONLY, 0755) >= 0 ? 0 : errno; }), 0);
  EXPECT_EQ(inChild(programs, [&] { return ::chmod(file.c_str(), 04755) == 0 ? 0 : errno; }), EPERM);
  EXPECT_EQ(inChild(programs, [&] { return ::mkdir(inner.c_str(), 02755) == 0 ? 0 : errno; }), EPERM);
  EXPECT_EQ(inChild(programs, [&] { return ::mkdir(inner.c_str(), 0755) == 0 ? 0 : errno; }), 0);
  std::filesystem::remove_all(directory);
}

TEST(SeccompInKernel, AnOrdinaryProgramWorks) {
  EXPECT_EQ(inChild({standard().bytes, compileNoSuidFilter()},
                    [] {
                      ::execl("/bin/sh", "sh", "-c", "x=$(echo hello | cat) && [ \"$x\" = hello ] && ls / > /dev/null && exit 42", nullptr);
                      return 1;
                    }),
            42);
}

// ---- the cache ----

TEST(SeccompCacheTest, KeepsOnDiskAndDistrustsWhatDoesNotVerify) {
  std::string name = (std::filesystem::temp_directory_path() / "rauha-filters-XXXXXX").string();
  const std::filesystem::path root = ::mkdtemp(name.data());
  const std::string directory = root / "a/b";
  const SeccompRequest request{{CAP_CHOWN}, {"ptrace"}, {}, false};
  const std::string made = SeccompCache(directory).filter(request);
  EXPECT_EQ(made, compileFilter(request));
  std::vector<std::filesystem::path> files(std::filesystem::directory_iterator(directory), {});
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(SeccompCache(directory).filter(request), made);
  for (const char* content : {"", "sha256:", "junk"}) {
    std::ofstream(files[0], std::ios::trunc) << content;
    EXPECT_EQ(SeccompCache(directory).filter(request), made);
  }
  std::fstream flip(files[0], std::ios::in | std::ios::out | std::ios::binary);
  flip.seekp(200);
  flip.put('\x7f');
  flip.close();
  EXPECT_EQ(SeccompCache(directory).filter(request), made);
  EXPECT_NE(SeccompCache(directory).filter({{}, {}, {}, false}), made);
  EXPECT_EQ(SeccompCache("/proc/nonexistent").filter(request), made);  // a disk that cannot be written costs nothing but time
  std::filesystem::remove_all(root);
}

TEST(SeccompCacheTest, KillInTheMiddleOfWritingLeavesNothing) {
  std::string name = (std::filesystem::temp_directory_path() / "rauha-filters-XXXXXX").string();
  const std::filesystem::path root = ::mkdtemp(name.data());
  const SeccompRequest request{{CAP_CHOWN}, {"ptrace"}, {}, false};
  const pid_t writer = ::fork();
  ASSERT_GE(writer, 0);
  if (writer == 0) {
    // The kernel ends the process in the write that passes the limit.
    const rlimit noCore{0, 0}, someBytes{100, 100};
    if (::signal(SIGXFSZ, SIG_DFL) == SIG_ERR || ::setrlimit(RLIMIT_CORE, &noCore) != 0 || ::setrlimit(RLIMIT_FSIZE, &someBytes) != 0)
      ::_exit(1);
    SeccompCache(root).filter(request);
    ::_exit(2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(writer, &status, 0), writer);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGXFSZ);
  EXPECT_TRUE(std::filesystem::is_empty(root)) << std::filesystem::directory_iterator(root)->path();
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace rauha::backend
