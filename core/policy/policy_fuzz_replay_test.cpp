// The fuzzer's corpus, replayed by every build: what it once found stays found.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/fd.h"
#include "core/policy/policy_fuzz_target.h"

namespace rauha::policy {
namespace {

TEST(PolicyFuzz, CorpusReplays) {
  size_t accepted = 0, refused = 0;
  for (const char* directory : {"/tests/fuzz/corpus/policy", "/policies"})
    for (const auto& entry : std::filesystem::directory_iterator(std::string(RAUHA_SOURCE_DIR) + directory))
      ++(fuzzPolicy(readFile(entry.path(), 2 << 20)) ? accepted : refused);
  EXPECT_GE(accepted, 8u);
  EXPECT_GE(refused, 10u);
}

}  // namespace
}  // namespace rauha::policy
