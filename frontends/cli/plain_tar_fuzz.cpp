// libFuzzer: image_plain_tar_fuzz tests/fuzz/corpus/image_plain_tar
#include <cstddef>
#include <cstdint>

#include "frontends/cli/plain_tar_fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rauha::cli::fuzzPlainTar({reinterpret_cast<const char*>(data), size});
  return 0;
}
