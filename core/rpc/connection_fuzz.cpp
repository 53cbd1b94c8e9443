// libFuzzer: rpc_connection_fuzz tests/fuzz/corpus/rpc_connection
#include <cstddef>
#include <cstdint>

#include "core/rpc/connection_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::rpc::fuzzConnection({reinterpret_cast<const char*>(data), size});
  return 0;
}
