#include "plugins/agent/doors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/fd.h"

namespace rauha::agent {
namespace {

class Doors : public ::testing::Test {
 protected:
  Doors() {
    char name[] = "/tmp/rauha-doors-XXXXXX";
    top_ = ::mkdtemp(name);
  }
  ~Doors() override { std::filesystem::remove_all(top_); }
  void directory(const std::string& path) { std::filesystem::create_directories(top_ / path); }
  void file(const std::string& path) { std::ofstream(top_ / path) << "x"; }
  void fifo(const std::string& path) { ASSERT_EQ(::mkfifo((top_ / path).c_str(), 0600), 0) << path; }
  void socket(const std::string& path) {
    const UniqueFd s(::socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (top_ / path).c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(s.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address), 0) << path;
  }
  std::string note(size_t limit = kDoorEntries) const {
    const UniqueFd fd(::open(top_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return noteDoors(fd.get(), limit);
  }
  std::filesystem::path top_;
};

TEST_F(Doors, NoneInAnUsualTree) {
  directory("src/deep/er");
  file("src/a.c");
  std::filesystem::create_symlink("/run", top_ / "link");
  std::filesystem::create_symlink("src", top_ / "src/loop");
  EXPECT_EQ(note(), "");
}

TEST_F(Doors, AreNamedFromTheTop) {
  directory("a/b/c");
  fifo("a/b/c/pipe");
  socket("z.sock");
  EXPECT_EQ(note(),
            "repository: the task reaches who listens on the host behind the sockets and named pipes in it: z.sock, a/b/c/pipe; "
            "--repo-mode overlay closes them");
}

TEST_F(Doors, ManyAreCountedAndHostileNamesStayOneLine) {
  for (const char* name : {"1\n\x1b[2J", "2\xff", "3", "4", "5"}) fifo(name);
  const std::string text = note();
  EXPECT_NE(text.find(" and 2 more;"), std::string::npos) << text;
  EXPECT_EQ(text.find_first_of("\n\x1b\xff"), std::string::npos) << text;
}

TEST_F(Doors, LookingHasAnEnd) {
  for (int i = 0; i < 20; ++i) file("f" + std::to_string(i));
  directory("d");
  fifo("d/pipe");
  EXPECT_NE(note(), "");
  EXPECT_EQ(note(21), "");
}

// Nothing is followed, what cannot be read is passed over, and a directory that is not there is no error.
TEST_F(Doors, WhatCannotBeReadIsPassedOver) {
  EXPECT_EQ(noteDoors(-1), "");
  std::filesystem::path deep = "d";
  for (int i = 0; i < 40; ++i) deep /= std::string(200, 'x');  // longer than a path may be
  const UniqueFd start(::open(top_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd at(::open(top_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const auto& part : deep) {
    ASSERT_EQ(::mkdirat(at.get(), part.c_str(), 0700), 0);
    at.reset(::openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  fifo("near");
  EXPECT_NE(note().find(": near;"), std::string::npos);
}

}  // namespace
}  // namespace rauha::agent
