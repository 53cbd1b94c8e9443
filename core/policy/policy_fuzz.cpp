// libFuzzer: policy_fuzz tests/fuzz/corpus/policy
#include <cstddef>
#include <cstdint>

#include "core/policy/policy_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::policy::fuzzPolicy({reinterpret_cast<const char*>(data), size});
  return 0;
}
