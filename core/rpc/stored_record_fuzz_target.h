#pragma once
// What is fuzzed: any bytes where the daemon kept something for later. Shared by the fuzzer and by the replay of its corpus in ordinary
// builds.

#include <string_view>

namespace rauha::rpc {

// The first byte says which: 'm' the manifest of a change set, 's' the summary of a request. Aborts when something other than a value or a
// proper refusal comes of it. true: there was something in it.
bool fuzzStoredRecord(std::string_view bytes);

}  // namespace rauha::rpc
