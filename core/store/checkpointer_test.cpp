#include "core/store/checkpointer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "core/store/testing/temporary_directory.h"

namespace rauha::store {
namespace {

namespace fs = std::filesystem;

class CheckpointerTest : public ::testing::Test {
 protected:
  CheckpointerTest() {
    EXPECT_EQ(database_.readText("PRAGMA journal_mode = WAL", "test"), "wal");
    database_.execute("PRAGMA synchronous = NORMAL; CREATE TABLE t (bytes BLOB);", "test");
  }
  // One page of the log at least.
  void commit(int times) {
    for (int i = 0; i < times; ++i) database_.execute("INSERT INTO t VALUES (zeroblob(4096))", "test");
  }
  uintmax_t inFile() const { return fs::file_size(path_) / 4096; }
  uintmax_t inLog() const { return fs::file_size(path_ + "-wal") / 4096; }
  bool eventually(auto condition) {
    for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30); std::chrono::steady_clock::now() < end;
         std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      if (condition()) return true;
    return false;
  }
  testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/test.db";
  Database database_{path_};
};

TEST_F(CheckpointerTest, TheLogIsMovedBesideTheCommits) {
  const Checkpointer checkpointer(database_, {.due = 200, .most = 1'000'000});
  commit(10);
  EXPECT_LT(inFile(), 10u) << "the control: it is in the log";
  commit(300);
  EXPECT_TRUE(eventually([&] { return inFile() >= 50; })) << inFile();
}

TEST_F(CheckpointerTest, TheLogBeginsAnewAlthoughCommitsNeverPause) {
  const Checkpointer checkpointer(database_, {.due = 50, .most = 200});
  uintmax_t rows = 0;
  // Each row is two pages or more: a shorter log was used again.
  EXPECT_TRUE(eventually([&] {
    commit(200);
    return (rows += 200) * 2 > inLog();
  })) << inLog()
      << " pages after " << rows << " rows";
}

TEST_F(CheckpointerTest, WhoCommitsDoesItWhenNobodyElseDid) {
  const Checkpointer checkpointer(database_, {.due = 1'000'000, .most = 50});
  commit(60);
  EXPECT_GE(inFile(), 50u);
}

TEST_F(CheckpointerTest, WhatIsInTheLogAtTheEndIsNotLost) {
  {
    const Checkpointer checkpointer(database_, {.due = 5, .most = 1'000'000});
    commit(200);
  }
  Database again(path_);
  EXPECT_EQ(again.readInteger("SELECT count(*) FROM t", "test"), 200);
}

}  // namespace
}  // namespace rauha::store
