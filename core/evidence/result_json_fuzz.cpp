// libFuzzer: result_json_fuzz tests/fuzz/corpus/result_json
#include <cstddef>
#include <cstdint>

#include "core/evidence/result_json_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::fuzzResultJson({reinterpret_cast<const char*>(data), size});
  return 0;
}
