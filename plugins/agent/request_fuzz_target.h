#pragma once
// What is fuzzed: any bytes from a client into an agent's connection, and from there as plans through the plan reader. Nothing is executed.
// Shared by the fuzzer and by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha::agent {

// Aborts when the connection outlives its client, or a plan is accepted that breaks a promise of plan.h.
// true: a plan was accepted.
bool fuzzRequests(std::string_view bytes);

}  // namespace rauha::agent
