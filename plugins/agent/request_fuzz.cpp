// libFuzzer: agent_request_fuzz tests/fuzz/corpus/agent_request
#include <cstddef>
#include <cstdint>

#include "plugins/agent/request_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::agent::fuzzRequests({reinterpret_cast<const char*>(data), size});
  return 0;
}
