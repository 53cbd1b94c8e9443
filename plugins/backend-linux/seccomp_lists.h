#pragma once
// Which system calls a zone may make: data, with the reason beside each group. The rules that look at arguments are in seccomp_profile.cpp.

#include <span>
#include <string_view>

namespace rauha::backend {

struct CallGroup {
  const char* why;
  std::string_view names;  // separated by spaces; a name that this architecture does not have is skipped
};

// Admitted in every zone.
std::span<const CallGroup> commonCalls() noexcept;

// Admitted in addition when the capability is granted; what the kernel would refuse without it anyway is not worth the attack surface.
struct ConditionalGroup {
  int capability;
  bool privilegedOnly;  // in a user namespace the call is useless, or reaches beyond the zone
  CallGroup calls;
};
std::span<const ConditionalGroup> conditionalCalls() noexcept;

// Fail with ENOSYS although the kernel has them, so that programs use the older call whose arguments can be looked at.
std::string_view hiddenCalls() noexcept;

// Without these no process could start or report why not; a policy cannot deny them.
std::string_view indispensableCalls() noexcept;

// Calls newer than the libseccomp that we build with knows. Their numbers are the same on every architecture.
struct NewCall {
  std::string_view name;
  int number;
};
std::span<const NewCall> newCalls() noexcept;
// The newest call that these lists have an opinion about; numbers above it fail with ENOSYS.
int newestKnownCall() noexcept;

// Everything above as one text, for the key of the cache.
std::string_view listsFingerprint();

}  // namespace rauha::backend
