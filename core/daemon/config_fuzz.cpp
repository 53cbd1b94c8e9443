// libFuzzer: daemon_config_fuzz tests/fuzz/corpus/daemon_config
#include <cstddef>
#include <cstdint>

#include "core/daemon/config_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::fuzzConfig({reinterpret_cast<const char*>(data), size});
  return 0;
}
