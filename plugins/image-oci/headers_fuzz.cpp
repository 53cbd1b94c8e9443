// libFuzzer: image_headers_fuzz tests/fuzz/corpus/image_headers
#include <cstddef>
#include <cstdint>

#include "plugins/image-oci/fuzz_targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::oci::fuzz::headers({reinterpret_cast<const char*>(data), size});
  return 0;
}
