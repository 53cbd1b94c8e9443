#pragma once
// What is fuzzed: any bytes from a zone's agent into core's end of the protocol. Core makes the calls that a task's life is made of; what
// comes back is read as task and zone services read it. Shared by the fuzzer and by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha {

// Aborts when a call neither answers nor fails once the agent is gone. true: at least one call was answered.
bool fuzzAgentClient(std::string_view bytes);

}  // namespace rauha
