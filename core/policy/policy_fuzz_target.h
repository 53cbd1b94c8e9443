#pragma once
// What is fuzzed: any bytes as a policy. Shared by the fuzzer and by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha::policy {

// Aborts (by an uncaught exception or a failed check) when something other than an acceptance or a proper refusal happens.
// true: accepted.
bool fuzzPolicy(std::string_view bytes);

}  // namespace rauha::policy
