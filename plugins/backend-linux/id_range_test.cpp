#include "plugins/backend-linux/id_range.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "core/base/error.h"

namespace rauha::backend {
namespace {
namespace fs = std::filesystem;

struct IdRangeTest : testing::Test {
  IdRangeTest() {
    std::string name = (fs::temp_directory_path() / "rauha-ids-XXXXXX").string();
    root = ::mkdtemp(name.data());
    config.directory = (root / "ids").string();
    config.base = 0x10000;
    config.slots = 4;
    config.subidFiles = {(root / "subuid").string(), (root / "subgid").string()};
    config.idMapFile = (root / "uid_map").string();
    write("uid_map", "         0          0 4294967295\n");
  }
  ~IdRangeTest() override { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(root / name) << text; }
  fs::path root;
  IdRangeConfig config;
};

Code codeOf(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return Code::none;
}

TEST_F(IdRangeTest, LowestFreeAndBackAgain) {
  IdRanges ids(config);
  EXPECT_EQ(ids.allocate("i", "a"), 0x10000u);
  EXPECT_EQ(ids.allocate("i", "b"), 0x20000u);
  ids.release("i", "a");
  ids.release("i", "a");
  EXPECT_EQ(ids.allocate("i", "c"), 0x10000u);
  const auto claims = ids.claims("i");
  ASSERT_EQ(claims.size(), 2u);
  EXPECT_EQ(claims[0].zoneId, "c");
}

TEST_F(IdRangeTest, OnlyTheOwnerGivesBack) {
  IdRanges ids(config);
  const uint32_t base = ids.allocate("i", "a");
  ids.releaseAt(base, "other", "a");
  ids.releaseAt(base, "i", "b");
  ids.release("other", "a");
  EXPECT_EQ(ids.claims("i").size(), 1u);
  ids.releaseAt(base, "i", "a");
  EXPECT_TRUE(ids.claims("i").empty());
}

TEST_F(IdRangeTest, Exhaustion) {
  IdRanges ids(config);
  for (int i = 0; i < 4; ++i) ids.allocate("i", std::to_string(i));
  EXPECT_EQ(codeOf([&] { ids.allocate("i", "x"); }), Code::limit);
}

TEST_F(IdRangeTest, PromisedRangesAreSkipped) {
  write("subuid", "# none\njoe:65600:1\nbroken:x:y\n");
  write("subgid", "joe:196607:2\n");  // the last id of the second range and the first of the third
  IdRanges ids(config);
  EXPECT_EQ(ids.allocate("i", "a"), 0x40000u);
  EXPECT_EQ(codeOf([&] { ids.allocate("i", "b"); }), Code::limit);
}

TEST_F(IdRangeTest, IdsThatDoNotExistHereAreNotGiven) {
  write("uid_map", "0 100000 65536\n");
  IdRanges ids(config);
  EXPECT_EQ(codeOf([&] { ids.allocate("i", "a"); }), Code::unsupported);
  EXPECT_NE(ids.obstacle(), "");
  write("uid_map", "0 0 65536\n131072 131072 65536\n");
  EXPECT_EQ(ids.allocate("i", "a"), 131072u);
  EXPECT_EQ(ids.obstacle(), "");
}

TEST_F(IdRangeTest, AnUnfinishedClaimIsTakenOver) {
  fs::create_directory(config.directory);
  fs::permissions(config.directory, fs::perms::owner_all);
  std::ofstream(config.directory + "/65536") << "";
  std::ofstream(config.directory + "/131072") << "i zo";
  IdRanges ids(config);
  EXPECT_EQ(ids.allocate("i", "a"), 65536u);
  EXPECT_EQ(ids.allocate("i", "b"), 131072u);
  EXPECT_EQ(ids.claims("i").size(), 2u);
}

TEST_F(IdRangeTest, ADirectoryThatOthersMayWriteIsRefused) {
  fs::create_directory(config.directory);
  fs::permissions(config.directory, fs::perms::all);
  IdRanges ids(config);
  EXPECT_EQ(codeOf([&] { ids.allocate("i", "a"); }), Code::denied);
}

TEST_F(IdRangeTest, EightProcessesNeverShareARange) {
  config.slots = 200;
  int results[2];
  ASSERT_EQ(::pipe(results), 0);
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      IdRanges ids(config);
      for (int i = 0; i < 40; ++i) {
        const std::string zone = std::to_string(p) + "_" + std::to_string(i);
        const uint32_t base = ids.allocate("i", zone);
        if (i % 2 == 0) {
          ids.releaseAt(base, "i", zone);
          continue;
        }
        if (::write(results[1], &base, sizeof base) != sizeof base) ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  ::close(results[1]);
  std::set<uint32_t> held;
  for (uint32_t base = 0; ::read(results[0], &base, sizeof base) == sizeof base;) EXPECT_TRUE(held.insert(base).second) << base;
  for (const pid_t pid : children) {
    int status = 1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(held.size(), 160u);
  EXPECT_EQ(IdRanges(config).claims("i").size(), 160u);
}

}  // namespace
}  // namespace rauha::backend
