// The fuzzer's corpus, also where there is no fuzzer.

#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/fd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace rauha::plugin {
namespace {

TEST(NoteCorpus, Replay) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(RAUHA_CORPUS)) {
    const std::string bytes = readFile(entry.path(), 16 << 20);
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()), 0);
    ++files;
  }
  EXPECT_GE(files, 10);
}

}  // namespace
}  // namespace rauha::plugin
