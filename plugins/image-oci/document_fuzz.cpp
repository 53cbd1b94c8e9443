// libFuzzer: image_document_fuzz tests/fuzz/corpus/image_document
#include <cstddef>
#include <cstdint>

#include "plugins/image-oci/fuzz_targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::oci::fuzz::document({reinterpret_cast<const char*>(data), size});
  return 0;
}
