// libFuzzer: stored_record_fuzz tests/fuzz/corpus/stored_record
#include <cstddef>
#include <cstdint>

#include "core/rpc/stored_record_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::rpc::fuzzStoredRecord({reinterpret_cast<const char*>(data), size});
  return 0;
}
