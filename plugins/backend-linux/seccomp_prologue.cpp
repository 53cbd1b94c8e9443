#include "plugins/backend-linux/seccomp_prologue.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "core/base/error.h"
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

constexpr uint32_t kX32Bit = 0x40000000;
constexpr uint32_t kMptcp = 262;                      // IPPROTO_MPTCP, not in the C library's headers of 2.36
constexpr uint32_t kSetDelegation = F_SETLEASE + 16;  // F_SETDELEG of Linux 6.19: a lease on a directory
constexpr uint32_t kInternetProtocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, kMptcp};

// Forward jumps to labels. A label is bound once; "the end" is what follows the program.
class Assembler final {
 public:
  using Label = size_t;
  Label label() {
    positions_.push_back(SIZE_MAX);
    return positions_.size() - 1;
  }
  void bind(Label l) { positions_[l] = code_.size(); }
  void load(size_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  void ret(uint32_t value) { emit(BPF_RET | BPF_K, value); }
  void jump(Label to) { emit(BPF_JMP | BPF_JA, 0, to, kNext); }
  // Goes to `yes` when the comparison holds, else to the next instruction.
  void jumpIf(uint16_t comparison, uint32_t value, Label yes) {
    emit(static_cast<uint16_t>(BPF_JMP | BPF_K | comparison), value, yes, kNext);
  }
  void jumpUnlessEqual(uint32_t value, Label no) { emit(BPF_JMP | BPF_K | BPF_JEQ, value, kNext, no); }
  std::string bytes() const {
    std::vector<sock_filter> out;
    for (size_t at = 0; at < code_.size(); ++at) {
      const Instruction& i = code_[at];
      sock_filter f{i.code, 0, 0, i.value};
      if (i.code == (BPF_JMP | BPF_JA))
        f.k = static_cast<uint32_t>(distance(at, i.yes));
      else if (BPF_CLASS(i.code) == BPF_JMP)
        f.jt = near(distance(at, i.yes)), f.jf = near(distance(at, i.no));
      out.push_back(f);
    }
    return {reinterpret_cast<const char*>(out.data()), out.size() * sizeof(sock_filter)};
  }

 private:
  static constexpr Label kNext = SIZE_MAX;
  struct Instruction {
    uint16_t code;
    uint32_t value;
    Label yes, no;
  };
  void emit(uint16_t code, uint32_t value, Label yes = kNext, Label no = kNext) { code_.push_back({code, value, yes, no}); }
  size_t distance(size_t from, Label to) const {
    if (to == kNext) return 0;
    if (positions_[to] == SIZE_MAX || positions_[to] <= from)
      throw Error("backend", Code::internal, "system call filter: a jump has no target ahead");
    return positions_[to] - from - 1;
  }
  static uint8_t near(size_t distance) {
    if (distance > 255) throw Error("backend", Code::internal, "system call filter: a jump is too far");
    return static_cast<uint8_t>(distance);
  }
  std::vector<Instruction> code_;
  std::vector<size_t> positions_;
};

constexpr size_t kNumber = offsetof(seccomp_data, nr), kArch = offsetof(seccomp_data, arch);
// The low half of an argument: both architectures are little endian.
constexpr size_t low(size_t argument) { return offsetof(seccomp_data, args) + argument * sizeof(uint64_t); }
constexpr uint32_t failing(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }

void checkIoctl(Assembler& a, Assembler::Label end) {
  const auto refuse = a.label();
  a.load(low(1));
  a.jumpIf(BPF_JEQ, TIOCSTI, refuse);
  a.jumpIf(BPF_JEQ, TIOCLINUX, refuse);
  a.jump(end);
  a.bind(refuse);
  a.ret(failing(EPERM));
}

// A lease makes whoever opens the file wait for the task, half a minute each time, and F_NOTIFY is told what they do: both reach the host
// through a read-only tree too.
void checkFcntl(Assembler& a, Assembler::Label end) {
  const auto refuse = a.label();
  a.load(low(1));
  for (const uint32_t command : {uint32_t{F_SETLEASE}, uint32_t{F_NOTIFY}, kSetDelegation}) a.jumpIf(BPF_JEQ, command, refuse);
  a.jump(end);
  a.bind(refuse);
  a.ret(failing(EPERM));
}

void checkSocket(Assembler& a, const Prologue& options, Assembler::Label end) {
  const auto internet = a.label(), netlink = a.label();
  a.load(low(0));
  a.jumpIf(BPF_JEQ, AF_UNIX, end);
  for (const uint32_t family : {AF_INET, AF_INET6}) a.jumpIf(BPF_JEQ, family, options.rawSockets ? end : internet);
  a.jumpIf(BPF_JEQ, AF_NETLINK, netlink);
  if (options.rawSockets) a.jumpIf(BPF_JEQ, AF_PACKET, end);
  a.ret(failing(EAFNOSUPPORT));
  a.bind(internet);
  a.load(low(2));
  for (const uint32_t protocol : kInternetProtocols) a.jumpIf(BPF_JEQ, protocol, end);
  a.ret(failing(EPROTONOSUPPORT));
  a.bind(netlink);
  a.load(low(2));
  for (const uint32_t protocol : options.netlinkProtocols) a.jumpIf(BPF_JEQ, protocol, end);
  a.ret(failing(EPROTONOSUPPORT));
}

}  // namespace

std::string compilePrologue(const Prologue& options, const PrologueCalls& calls) {
  Assembler a;
  const auto end = a.label(), unknown = a.label(), ioctlCall = a.label(), fcntlCall = a.label(), socketCall = a.label();
  a.load(kArch);
  a.jumpUnlessEqual(RAUHA_NATIVE_ARCH, end);  // the tree kills it
  a.load(kNumber);
  a.jumpIf(BPF_JGE, kX32Bit, end);  // and so this
  if (options.refuseNewCalls) a.jumpIf(BPF_JGT, static_cast<uint32_t>(newestKnownCall()), unknown);
  a.jumpIf(BPF_JEQ, calls.ioctl, ioctlCall);
  a.jumpIf(BPF_JEQ, calls.fcntl, fcntlCall);
  if (options.checkSockets) a.jumpIf(BPF_JEQ, calls.socket, socketCall);
  a.jump(end);
  a.bind(ioctlCall);
  checkIoctl(a, end);
  a.bind(fcntlCall);
  checkFcntl(a, end);
  a.bind(socketCall);
  checkSocket(a, options, end);
  a.bind(unknown);
  a.ret(failing(ENOSYS));
  a.bind(end);
  return a.bytes();
}

uint32_t nativeArch() noexcept { return RAUHA_NATIVE_ARCH; }

}  // namespace rauha::backend
