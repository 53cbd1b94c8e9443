// The fuzzer's corpus, replayed by every build: what it once found stays found.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/fd.h"
#include "core/evidence/result_json_fuzz_target.h"

namespace rauha {
namespace {

TEST(ResultJsonFuzz, CorpusReplays) {
  size_t good = 0, bad = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(RAUHA_SOURCE_DIR) + "/tests/fuzz/corpus/result_json"))
    ++(fuzzResultJson(readFile(entry.path(), 1 << 20)) ? good : bad);
  EXPECT_GE(good, 5u);
  EXPECT_GE(bad, 5u);
}

}  // namespace
}  // namespace rauha
