#pragma once
// The policies of policies/, compiled in, so that a name means the same text whatever the daemon's version is: the client sends the text,
// and the result's policy_digest tells which one it was.

#include <optional>
#include <string>
#include <string_view>

namespace rauha::cli {

std::optional<std::string_view> builtinPolicy(std::string_view name) noexcept;
// "task, standard, strict, privileged"
std::string builtinPolicyNames();

}  // namespace rauha::cli
