#include "core/daemon/instance.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "core/base/error.h"

namespace rauha {
namespace {

class InstanceTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/rauha-instance-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    root_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  std::string root_;
};

TEST_F(InstanceTest, PrivateInstancesHaveTheirOwnNames) {
  const Instance a = makeInstance(root_ + "/a"), b = makeInstance(root_ + "/b"), again = makeInstance(root_ + "/./a");
  EXPECT_NE(a.name, b.name);
  EXPECT_EQ(a.name, again.name);
  EXPECT_EQ(a.name.rfind("rauha-", 0), 0u);
  EXPECT_EQ(a.stateDir, root_ + "/a/state");
  struct stat st {};
  ASSERT_EQ(stat(a.stateDir.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(InstanceTest, DirectoriesThatOthersMayWriteAreRefused) {
  makeInstance(root_);
  chmod((root_ + "/state").c_str(), 0777);
  EXPECT_THROW(makeInstance(root_), Error);
}

TEST_F(InstanceTest, RootThatOthersMayWriteIsRefused) {
  chmod(root_.c_str(), 0777);
  EXPECT_THROW(makeInstance(root_), Error);
  chmod(root_.c_str(), 0700);
  EXPECT_NO_THROW(makeInstance(root_));
}

TEST_F(InstanceTest, LinkInPlaceOfADirectoryIsRefused) {
  std::filesystem::create_directory_symlink("/tmp", root_ + "/state");
  EXPECT_THROW(makeInstance(root_), Error);
}

TEST_F(InstanceTest, OneDaemonPerInstance) {
  const Instance instance = makeInstance(root_);
  UniqueFd first = lockInstance(instance);
  try {
    lockInstance(instance);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::busy);
    EXPECT_NE(e.text().find(std::to_string(getpid())), std::string::npos);
  }
  first.reset();
  EXPECT_NO_THROW(lockInstance(instance));
}

}  // namespace
}  // namespace rauha
