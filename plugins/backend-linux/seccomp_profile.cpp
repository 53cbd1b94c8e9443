#include "plugins/backend-linux/seccomp_profile.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/backend-linux/seccomp_lists.h"

#if defined(__x86_64__)
#define RAUHA_NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define RAUHA_NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the system call lists were only checked for x86_64 and aarch64"
#endif

namespace rauha::backend {
namespace {

constexpr uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint64_t kLow32 = 0xFFFFFFFF;
constexpr uint32_t kX32Bit = 0x40000000;

template <typename F>
void eachName(std::string_view names, F&& f) {
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find(' ', at), names.size());
    if (end > at) f(std::string(names.substr(at, end - at)));
    at = end + 1;
  }
}

bool contains(std::string_view names, const std::string& name) {
  bool found = false;
  eachName(names, [&](const std::string& n) { found = found || n == name; });
  return found;
}

bool has(const std::vector<uint8_t>& capabilities, int capability) {
  return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
}

// The number of a call. nullopt: no such call anywhere; negative: other architectures have it.
std::optional<int> numberOf(const std::string& name) {
  for (const NewCall& c : newCalls())
    if (c.name == name) return c.number;
  const int number = seccomp_syscall_resolve_name(name.c_str());
  return number == __NR_SCMP_ERROR ? std::nullopt : std::optional(number);
}

void check(int result, const std::string& what) {
  if (result < 0) throw Error("backend", Code::internal, "system call filter: " + what + ": " + std::strerror(-result));
}

// One argument's low 32 bits under a mask. Never 64-bit comparisons: the kernel cuts int arguments to 32 bits, so junk above them would
// slip past a comparison that sees it.
scmp_arg_cmp masked(unsigned argument, uint32_t mask, uint32_t value) { return {argument, SCMP_CMP_MASKED_EQ, mask, value}; }
scmp_arg_cmp equals(unsigned argument, uint32_t value) { return masked(argument, static_cast<uint32_t>(kLow32), value); }

class Filter final {
 public:
  explicit Filter(uint32_t defaultAction) : context_(seccomp_init(defaultAction), seccomp_release), default_(defaultAction) {
    if (!context_) throw Error("backend", Code::internal, "system call filter: cannot be made");
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "foreign architectures");
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
  }
  void add(uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& arguments = {}) {
    const auto number = numberOf(name);
    if (!number) throw Error("backend", Code::internal, "system call filter: \"" + name + "\" is not known");
    if (*number < 0 || action == default_) return;
    check(seccomp_rule_add_array(context_.get(), action, *number, static_cast<unsigned>(arguments.size()),
                                 arguments.empty() ? nullptr : arguments.data()),
          name);
  }
  std::string bytes() const {
    const UniqueFd fd(::memfd_create("rauha-filter", MFD_CLOEXEC));
    if (!fd) throwErrno("backend", "memfd for a system call filter");
    check(seccomp_export_bpf(context_.get(), fd.get()), "export");
    if (::lseek(fd.get(), 0, SEEK_SET) != 0) throwErrno("backend", "rewind a system call filter");
    return readAll(fd.get(), "system call filter");
  }

 private:
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
  const uint32_t default_;
};

constexpr uint32_t kAllow = SCMP_ACT_ALLOW;
constexpr uint32_t errnoAction(int error) { return SCMP_ACT_ERRNO(static_cast<uint32_t>(error)); }

// What goes before the tree: questions that the tree cannot ask.
//   * a call newer than our lists: ENOSYS (not in privileged zones, where everything passes that is not refused)
//   * ioctl requests that type into a terminal or paste into a console: EPERM, compared as the 32 bits that the kernel looks at
std::string prologue(bool refuseNewCalls) {
  constexpr auto kNumber = static_cast<uint32_t>(offsetof(seccomp_data, nr)), kArch = static_cast<uint32_t>(offsetof(seccomp_data, arch));
  constexpr auto kRequest = static_cast<uint32_t>(offsetof(seccomp_data, args) + sizeof(uint64_t));  // low half: little endian
  const auto newest = refuseNewCalls ? static_cast<uint32_t>(newestKnownCall()) : kX32Bit - 1;
  const auto ioctlNumber = static_cast<uint32_t>(*numberOf("ioctl"));
  const sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RAUHA_NATIVE_ARCH, 0, 10),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 8, 0),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ioctlNumber, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kRequest),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 2, 0),
      BPF_STMT(BPF_JMP | BPF_JA, 2),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  return {reinterpret_cast<const char*>(code), sizeof code};
}

void refuseUnknown(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (!numberOf(name))
      throw Error("policy", Code::invalid, "unknown system call \"" + name + "\"", "names are those of syscalls(2)", name);
}

std::set<std::string> admitted(const SeccompRequest& request) {
  std::set<std::string> out;
  auto take = [&](const std::string& name) { out.insert(name); };
  for (const CallGroup& group : commonCalls()) eachName(group.names, take);
  for (const ConditionalGroup& group : conditionalCalls())
    if (!group.privilegedOnly && has(request.capabilities, group.capability)) eachName(group.calls.names, take);
  for (const std::string& name : request.allow) out.insert(name);
  for (const std::string& name : request.deny) out.erase(name);
  return out;
}

void checkRequest(const SeccompRequest& request) {
  refuseUnknown(request.deny);
  refuseUnknown(request.allow);
  for (const std::string& name : request.deny)
    if (contains(indispensableCalls(), name))
      throw Error("policy", Code::invalid, "system call \"" + name + "\" cannot be denied: no process could start",
                  "remove it from syscalls.deny", name);
  if (request.privileged) return;
  const std::set<std::string> already = admitted({request.capabilities, {}, {}, false});
  for (const std::string& name : request.allow)
    for (const CallGroup& group : neverCalls())
      if (contains(group.names, name) && !already.contains(name))
        throw Error("policy", Code::denied, "system call \"" + name + "\" is never admitted: " + group.why,
                    "remove it from syscalls.allow, or use a privileged zone", name);
}

constexpr uint32_t kInternetProtocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 262 /* MPTCP */};

// socket(2): the families that a program needs and that a network namespace bounds. Others fail as if the kernel lacked them, which is what
// programs are prepared for.
void addSockets(Filter& filter, const SeccompRequest& request, const std::set<std::string>& denied) {
  const bool raw = has(request.capabilities, CAP_NET_RAW), admin = has(request.capabilities, CAP_NET_ADMIN);
  std::vector<uint32_t> netlink = {NETLINK_ROUTE};
  if (admin) netlink.insert(netlink.end(), {NETLINK_SOCK_DIAG, NETLINK_NETFILTER, NETLINK_GENERIC});
  if (!denied.contains("socket")) {
    filter.add(kAllow, "socket", {equals(0, AF_UNIX)});
    for (const uint32_t family : {AF_INET, AF_INET6}) {
      if (raw) {
        filter.add(kAllow, "socket", {equals(0, family)});
        continue;
      }
      for (const uint32_t protocol : kInternetProtocols) filter.add(kAllow, "socket", {equals(0, family), equals(2, protocol)});
    }
    for (const uint32_t protocol : netlink) filter.add(kAllow, "socket", {equals(0, AF_NETLINK), equals(2, protocol)});
    if (raw) filter.add(kAllow, "socket", {equals(0, AF_PACKET)});
  }
  if (!denied.contains("socketpair")) filter.add(kAllow, "socketpair", {equals(0, AF_UNIX)});
}

// Personalities that change what a program is told, never what memory protection means: Linux, the 32-bit and old-release names, no address
// randomisation (debuggers, sanitizers), and the question.
void addPersonality(Filter& filter) {
  for (const uint32_t persona : {0x0u, 0x8u, 0x20000u, 0x20008u, 0x40000u, 0xFFFFFFFFu})
    filter.add(kAllow, "personality", {equals(0, persona)});
}

std::string compileStandard(const SeccompRequest& request) {
  Filter filter(errnoAction(EPERM));
  const std::set<std::string> names = admitted(request), denied(request.deny.begin(), request.deny.end());
  for (const std::string& name : names) filter.add(kAllow, name);
  eachName(hiddenCalls(), [&](const std::string& name) {
    if (!names.contains(name)) filter.add(errnoAction(ENOSYS), name);
  });
  // Threads and processes, but no namespaces: a user namespace would open the kernel's root-only code to the zone.
  for (const char* name : {"clone", "unshare"})
    if (!names.contains(name) && !denied.contains(name))
      filter.add(kAllow, name, {masked(0, kNamespaceFlags | (name[0] == 'u' ? CLONE_NEWTIME : 0), 0)});
  addSockets(filter, request, denied);
  if (!denied.contains("personality")) addPersonality(filter);
  return prologue(true) + filter.bytes();
}

std::string compilePrivileged(const SeccompRequest& request) {
  Filter filter(kAllow);
  std::set<std::string> refused(request.deny.begin(), request.deny.end());
  // Keyrings are the host root's own here.
  eachName("keyctl add_key request_key", [&](const std::string& name) { refused.insert(name); });
  for (const ConditionalGroup& group : conditionalCalls())
    if (group.privilegedOnly) eachName(group.calls.names, [&](const std::string& name) { refused.insert(name); });
  for (const ConditionalGroup& group : conditionalCalls())
    if (group.privilegedOnly && has(request.capabilities, group.capability))
      eachName(group.calls.names, [&](const std::string& name) { refused.erase(name); });
  for (const std::string& name : request.allow) refused.erase(name);
  refused.insert(request.deny.begin(), request.deny.end());
  for (const std::string& name : refused) filter.add(errnoAction(EPERM), name);
  return prologue(false) + filter.bytes();
}

}  // namespace

std::string compileFilter(const SeccompRequest& request) {
  checkRequest(request);
  std::string out = request.privileged ? compilePrivileged(request) : compileStandard(request);
  if (instructionCount(out) > BPF_MAXINSNS)
    throw Error("backend", Code::limit,
                "the system call filter has " + std::to_string(instructionCount(out)) + " instructions, and the kernel takes 4096",
                "shorten the policy's lists");
  return out;
}

std::string compileNoSuidFilter() {
  constexpr uint32_t kSetUid = 04000, kSetGid = 02000, kTmpFile = 020000000;
  Filter filter(kAllow);
  struct ModeArgument {
    const char* name;
    unsigned argument;
  };
  constexpr ModeArgument kCalls[] = {{"chmod", 1}, {"fchmod", 1},  {"fchmodat", 2}, {"fchmodat2", 2}, {"creat", 1},
                                     {"mknod", 1}, {"mknodat", 2}, {"mkdir", 1},    {"mkdirat", 2}};
  for (const uint32_t bit : {kSetUid, kSetGid}) {
    for (const ModeArgument& c : kCalls) filter.add(errnoAction(EPERM), c.name, {masked(c.argument, bit, bit)});
    // The mode of an open counts only where a file may be made; elsewhere it is whatever was in the register.
    for (const uint32_t make : {static_cast<uint32_t>(O_CREAT), kTmpFile}) {
      filter.add(errnoAction(EPERM), "open", {masked(1, make, make), masked(2, bit, bit)});
      filter.add(errnoAction(EPERM), "openat", {masked(2, make, make), masked(3, bit, bit)});
    }
  }
  filter.add(errnoAction(ENOSYS), "openat2");  // its mode is behind a pointer
  return filter.bytes();
}

size_t instructionCount(const std::string& program) { return program.size() / sizeof(sock_filter); }

}  // namespace rauha::backend
