#pragma once
// The system calls that `syscalls.allow` cannot add, except in a zone whose root is the host's. Data that two need: core's policy reader,
// which refuses the line, and the Linux backend, which refuses the zone whoever asks for it. Any thread.

#include <span>
#include <string_view>

namespace rauha {

struct NeverCalls {
  std::string_view why;         // follows a colon in an error
  std::string_view names;       // separated by spaces
  std::string_view capability;  // with it they are there anyway, and naming them is no mistake; empty: none
};
std::span<const NeverCalls> neverCalls() noexcept;

// The group that forbids `call` in a zone with these capabilities (lower case, without "cap_"); nullptr: a policy may allow it.
const NeverCalls* neverAllowed(std::string_view call, std::span<const std::string_view> capabilities) noexcept;

}  // namespace rauha
