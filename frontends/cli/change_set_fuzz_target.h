#pragma once
// What is fuzzed: any bytes as a change set from the daemon, as diff and apply read it. Shared by the fuzzer and by the replay of its
// corpus in ordinary builds.

#include <string_view>

namespace rauha::cli {

// Aborts when a change comes through whose path leads out of the tree. true: every change was accepted.
bool fuzzChangeSet(std::string_view bytes);

}  // namespace rauha::cli
