#pragma once
// The hand-made part of a filter, which runs before libseccomp's tree: questions about arguments that the tree cannot ask, or cannot ask in
// the 32 bits that the kernel looks at. It ends by falling into what is appended to it.

#include <cstdint>
#include <string>
#include <vector>

namespace rauha::backend {

struct Prologue {
  bool refuseNewCalls = true;              // numbers above newestKnownCall(): ENOSYS
  bool checkSockets = true;                // socket(2): only what is listed here goes on to the tree
  bool rawSockets = false;                 // any protocol of AF_INET and AF_INET6, and AF_PACKET
  std::vector<uint32_t> netlinkProtocols;  // of AF_NETLINK
};

struct PrologueCalls {
  uint32_t ioctl = 0, fcntl = 0, socket = 0;  // numbers
};

// BPF bytes. ioctl requests that type into a terminal or a console, and fcntl commands that take a lease or ask to be told of a directory's
// changes, are always refused (EPERM). Families and protocols that are refused
// fail as if the kernel lacked them (EAFNOSUPPORT, EPROTONOSUPPORT): programs are prepared for that, and not for EPERM.
std::string compilePrologue(const Prologue& options, const PrologueCalls& calls);

// AUDIT_ARCH_* that the filters are for.
uint32_t nativeArch() noexcept;

}  // namespace rauha::backend
