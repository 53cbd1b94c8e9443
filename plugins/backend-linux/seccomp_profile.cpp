#include "plugins/backend-linux/seccomp_profile.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
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
#include "core/base/never_calls.h"
#include "plugins/backend-linux/seccomp_lists.h"
#include "plugins/backend-linux/seccomp_prologue.h"

namespace rauha::backend {
namespace {

constexpr uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint64_t kLow32 = 0xFFFFFFFF;

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

void refuseUnknown(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (!numberOf(name))
      throw Error("policy", Code::invalid, "unknown system call \"" + name + "\"", "names are those of syscalls(2)", name);
}

// Two names of one operation: the second takes the first one's arguments as a struct, or with flags. Who denies the first means both.
struct SecondName {
  const char *denied, *second;
};
constexpr SecondName kSecondNames[] = {{"clone", "clone3"},       {"openat", "openat2"},     {"faccessat", "faccessat2"},
                                       {"fchmodat", "fchmodat2"}, {"renameat", "renameat2"}, {"epoll_pwait", "epoll_pwait2"}};

// What `deny` takes along without naming it. A call that `allow` names stays. Refused with ENOSYS, so that the C library falls back to the
// first name, and its caller sees that one's EPERM.
std::set<std::string> secondNames(const SeccompRequest& request) {
  const auto names = [](const std::vector<std::string>& list, const char* name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  std::set<std::string> out;
  const auto take = [&](const std::string& name) {
    if (!names(request.allow, name.c_str()) && !names(request.deny, name.c_str())) out.insert(name);
  };
  for (const SecondName& s : kSecondNames)
    if (names(request.deny, s.denied)) take(s.second);
  // It does other calls' work in the kernel, where no filter sees it.
  if (!request.deny.empty()) eachName("io_uring_setup io_uring_enter io_uring_register", take);
  return out;
}

std::set<std::string> admitted(const SeccompRequest& request) {
  std::set<std::string> out;
  auto take = [&](const std::string& name) { out.insert(name); };
  for (const CallGroup& group : commonCalls()) eachName(group.names, take);
  for (const ConditionalGroup& group : conditionalCalls())
    if (!group.privilegedOnly && has(request.capabilities, group.capability)) eachName(group.calls.names, take);
  for (const std::string& name : request.allow) out.insert(name);
  for (const std::string& name : request.deny) out.erase(name);
  for (const std::string& name : secondNames(request)) out.erase(name);
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
    for (const NeverCalls& group : neverCalls())
      if (contains(group.names, name) && !already.contains(name))
        throw Error("policy", Code::denied, "system call \"" + name + "\" is never admitted: " + std::string(group.why),
                    "remove it from syscalls.allow, or use a privileged zone", name);
}

// The families that a program needs and that a network namespace bounds.
Prologue socketRules(const SeccompRequest& request) {
  Prologue out;
  out.rawSockets = has(request.capabilities, CAP_NET_RAW);
  out.netlinkProtocols = {NETLINK_ROUTE};
  if (has(request.capabilities, CAP_NET_ADMIN))
    out.netlinkProtocols.insert(out.netlinkProtocols.end(), {NETLINK_SOCK_DIAG, NETLINK_NETFILTER, NETLINK_GENERIC});
  return out;
}

std::string withPrologue(Prologue prologue, const Filter& filter) {
  const auto number = [](const char* name) { return static_cast<uint32_t>(*numberOf(name)); };
  return compilePrologue(prologue, {number("ioctl"), number("fcntl"), number("socket")}) + filter.bytes();
}

// Personalities that change what a program is told, never what memory protection means: Linux, the 32-bit and old-release names, no address
// randomisation (debuggers, sanitizers), and the question.
void addPersonality(Filter& filter) {
  for (const uint32_t persona : {0x0u, 0x8u, 0x20000u, 0x20008u, 0x40000u, 0xFFFFFFFFu})
    filter.add(kAllow, "personality", {equals(0, persona)});
}

std::string compileStandard(const SeccompRequest& request) {
  Filter filter(errnoAction(EPERM));
  const std::set<std::string> names = admitted(request), denied(request.deny.begin(), request.deny.end()), second = secondNames(request);
  for (const std::string& name : names) filter.add(kAllow, name);
  eachName(hiddenCalls(), [&](const std::string& name) {
    if (!names.contains(name) && !second.contains(name)) filter.add(errnoAction(ENOSYS), name);
  });
  for (const std::string& name : second) filter.add(errnoAction(ENOSYS), name);
  // Threads and processes, but no namespaces: a user namespace would open the kernel's root-only code to the zone.
  for (const char* name : {"clone", "unshare"})
    if (!names.contains(name) && !denied.contains(name))
      filter.add(kAllow, name, {masked(0, kNamespaceFlags | (name[0] == 'u' ? CLONE_NEWTIME : 0), 0)});
  Prologue prologue = socketRules(request);
  prologue.checkSockets = !denied.contains("socket");
  if (prologue.checkSockets) filter.add(kAllow, "socket");
  if (!denied.contains("socketpair")) filter.add(kAllow, "socketpair", {equals(0, AF_UNIX)});
  if (!denied.contains("personality")) addPersonality(filter);
  return withPrologue(std::move(prologue), filter);
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
  for (const std::string& name : secondNames(request))
    if (!refused.contains(name)) filter.add(errnoAction(ENOSYS), name);
  Prologue prologue;
  prologue.refuseNewCalls = prologue.checkSockets = false;
  return withPrologue(std::move(prologue), filter);
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
