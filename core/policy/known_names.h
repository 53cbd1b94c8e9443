#pragma once
// The closed sets of names in a policy.

#include <span>
#include <string_view>

#include "core/base/near_name.h"

namespace rauha::policy {

// The kernel's 41 capabilities in their order (linux/capability.h: the index is the number), lower case without "cap_".
std::span<const std::string_view> capabilityNames() noexcept;
bool isCapability(std::string_view name) noexcept;

// What `require` may name.
std::span<const std::string_view> layerNames() noexcept;

// The system calls of Linux, of every architecture, sorted (syscall_names.cpp). Which of them a zone may be given the backend decides.
std::span<const std::string_view> syscallNames() noexcept;
bool isSyscall(std::string_view name) noexcept;

}  // namespace rauha::policy
