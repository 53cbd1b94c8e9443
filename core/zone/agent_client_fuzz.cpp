// libFuzzer: agent_client_fuzz tests/fuzz/corpus/agent_client
#include <cstddef>
#include <cstdint>

#include "core/zone/agent_client_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::fuzzAgentClient({reinterpret_cast<const char*>(data), size});
  return 0;
}
