// The fuzzer's corpus, replayed by every build: what it once found stays found.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/fd.h"
#include "frontends/cli/plain_tar_fuzz_target.h"

namespace rauha::cli {
namespace {

TEST(PlainTarFuzz, CorpusReplays) {
  for (const auto& entry : std::filesystem::directory_iterator(std::string(RAUHA_SOURCE_DIR) + "/tests/fuzz/corpus/image_plain_tar")) {
    const std::string name = entry.path().filename();
    const bool good = fuzzPlainTar(readFile(entry.path(), 1 << 20));
    EXPECT_TRUE(good || !name.starts_with("good_")) << name;
    EXPECT_FALSE(good && name.starts_with("bad_")) << name;
  }
}

}  // namespace
}  // namespace rauha::cli
