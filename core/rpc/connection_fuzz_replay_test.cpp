// The fuzzer's corpus, replayed by every build: what it once found stays found.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/fd.h"
#include "core/rpc/connection_fuzz_target.h"

namespace rauha::rpc {
namespace {

TEST(ConnectionFuzz, CorpusReplays) {
  size_t called = 0, others = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(RAUHA_SOURCE_DIR) + "/tests/fuzz/corpus/rpc_connection"))
    ++(fuzzConnection(readFile(entry.path(), 1 << 20)) ? called : others);
  EXPECT_GE(called, 10u);
  EXPECT_GE(others, 10u);
}

}  // namespace
}  // namespace rauha::rpc
