#pragma once
// What is fuzzed: any bytes as rauha.toml. Shared by the fuzzer and by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha {

// Aborts when something other than a configuration or a proper refusal comes of it. true: accepted.
bool fuzzConfig(std::string_view bytes);

}  // namespace rauha
