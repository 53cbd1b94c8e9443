#pragma once
// What is fuzzed: any bytes as what the backend wrote down about a zone, and as what a shim is told about its own. Shared by the fuzzer and
// by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha::backend {

// The first byte says which: 'j' boundary.json, 'm' the Boundary message. Aborts when a boundary is accepted that would weaken a zone in
// silence. true: accepted.
bool fuzzZoneRecord(std::string_view bytes);

}  // namespace rauha::backend
