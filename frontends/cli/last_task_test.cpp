#include "frontends/cli/last_task.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace rauha::cli {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kMinute = 60'000'000'000;

TEST(LastTask, isToldWithItsAgeAndTree) {
  EXPECT_EQ(lastText("task_x", 1, 1 + 3 * kMinute, "/b"), "task_x, 3 min ago, → /b");
  EXPECT_EQ(lastText("task_x", 1, 5'000'000'001, ""), "task_x, 5 s ago");
  EXPECT_EQ(lastText("task_x", 1, 1 + 47 * 60 * kMinute, ""), "task_x, 47 h ago");
  EXPECT_EQ(lastText("task_x", 1, 1 + 72 * 60 * kMinute, ""), "task_x, 3 days ago");
  EXPECT_EQ(lastText("task_x", 0, 5, "/b"), "task_x, → /b");
  EXPECT_EQ(lastText("task_x", 7, 5, "/b"), "task_x, → /b") << "a clock that was set back";
}

TEST(LastTask, anotherRepositoryIsOneThatNeitherHoldsTheTreeNorIsInIt) {
  char name[] = "/tmp/rauha-last-test-XXXXXX";
  const std::string top = fs::canonical(mkdtemp(name)).string();
  for (const char* path : {"a/.git", "a/src/deep", "b/.git", "b/sub", "plain", "a/module"}) fs::create_directories(top + "/" + path);
  std::ofstream(top + "/a/module/.git") << "gitdir: ../.git/modules/module\n";
  EXPECT_EQ(otherRepository(top + "/a", top + "/b"), top + "/a");
  EXPECT_EQ(otherRepository(top + "/a/src/deep", top + "/b/sub"), top + "/a");
  EXPECT_EQ(otherRepository(top + "/a/module", top + "/b"), top + "/a/module") << "a file is one as well";
  EXPECT_EQ(otherRepository(top + "/a", top + "/plain"), top + "/a");
  EXPECT_EQ(otherRepository(top + "/b", top + "/b"), "");
  EXPECT_EQ(otherRepository(top + "/b", top + "/b/sub"), "") << "the task had a part of it";
  EXPECT_EQ(otherRepository(top + "/b/sub", top + "/b"), "");
  EXPECT_EQ(otherRepository(top + "/a/module", top + "/a"), "") << "inside of the tree";
  EXPECT_EQ(otherRepository(top + "/plain", top + "/b"), "") << "in none";
  EXPECT_EQ(otherRepository(top + "/a", ""), "") << "the tree is gone";
  EXPECT_EQ(otherRepository("", top + "/b"), "");
  fs::remove_all(top);
}

}  // namespace
}  // namespace rauha::cli
