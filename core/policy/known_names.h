#pragma once
// The closed sets of names in a policy, and the nearest one to a mistyped word.

#include <span>
#include <string>
#include <string_view>

namespace rauha::policy {

// The kernel's 41 capabilities in their order (linux/capability.h: the index is the number), lower case without "cap_".
std::span<const std::string_view> capabilityNames() noexcept;
bool isCapability(std::string_view name) noexcept;

// What `require` may name.
std::span<const std::string_view> layerNames() noexcept;

// The shape of a system call's name: 1 to 48 of [a-z0-9_], not starting with a digit. Whether it exists the backend knows.
bool isSyscallName(std::string_view name) noexcept;

// The candidate that `word` is most likely a slip of; "" when none is near (edit distance over a third of its length).
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) noexcept;

// "did you mean 'memory'?", or "known here: a, b, c".
std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace rauha::policy
