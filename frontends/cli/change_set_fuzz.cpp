// libFuzzer: change_set_fuzz tests/fuzz/corpus/change_set
#include <cstddef>
#include <cstdint>

#include "frontends/cli/change_set_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::cli::fuzzChangeSet({reinterpret_cast<const char*>(data), size});
  return 0;
}
