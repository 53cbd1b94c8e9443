// libFuzzer: zone_record_fuzz tests/fuzz/corpus/zone_record
#include <cstddef>
#include <cstdint>

#include "plugins/backend-linux/zone_record_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::backend::fuzzZoneRecord({reinterpret_cast<const char*>(data), size});
  return 0;
}
