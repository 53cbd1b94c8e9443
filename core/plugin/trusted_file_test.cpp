#include "core/plugin/trusted_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/error.h"
#include "core/plugin/test_directory.h"

namespace rauha::plugin {
namespace {

class TrustedFileTest : public testing::Test {
 protected:
  Error errorOf(const std::string& path, bool insecure = false) {
    try {
      TrustRules rules;
      rules.insecureDirectories = insecure;
      rules.maxBytes = 1000;
      openTrustedFile(path, rules);
    } catch (const Error& e) {
      return e;
    }
    return Error("none", Code::none, "no error");
  }
  std::string file(const std::string& name, mode_t mode = 0644, size_t size = 10) {
    const std::string path = directory.path() + "/" + name;
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    writeAll(fd.get(), std::string(size, 'x'), path);
    fchmod(fd.get(), mode);
    return path;
  }
  TestDirectory directory;
};

TEST_F(TrustedFileTest, OpensWhatIsSafe) {
  const std::string path = file("a.so");
  const TrustedFile opened = openTrustedFile(path, {});
  EXPECT_EQ(readAll(opened.fd.get(), path), "xxxxxxxxxx");
  EXPECT_EQ(opened.path, path);
  EXPECT_EQ(opened.weaknesses.empty(), geteuid() == 0);
  EXPECT_NE(fcntl(opened.fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(TrustedFileTest, MissingFile) {
  const Error e = errorOf(directory.path() + "/none.so");
  EXPECT_EQ(e.text(), "open " + directory.path() + "/none.so: No such file or directory");
  EXPECT_EQ(e.code(), Code::notFound);
}

TEST_F(TrustedFileTest, GroupWritableFile) {
  const std::string path = file("a.so", 0664);
  const Error e = errorOf(path);
  EXPECT_EQ(e.text(), path + " is writable by its group (mode 0664)");
  EXPECT_EQ(e.hint(), "chmod go-w " + path);
  EXPECT_EQ(e.code(), Code::denied);
  EXPECT_EQ(e.object(), path);
}

TEST_F(TrustedFileTest, WritableFileIsRefusedEvenInDevelopment) {
  const std::string path = file("a.so", 0646);
  EXPECT_EQ(errorOf(path, true).text(), path + " is writable by others (mode 0646)");
}

TEST_F(TrustedFileTest, GroupWritableDirectoryNamesTheComponent) {
  const std::string loose = directory.path() + "/loose";
  std::filesystem::create_directories(loose + "/inner");
  chmod(loose.c_str(), 0775);
  const std::string path = file("loose/inner/a.so");
  const Error e = errorOf(path);
  EXPECT_EQ(e.text(), loose + " is writable by its group (mode 0775)");
  EXPECT_EQ(e.object(), loose);
}

TEST_F(TrustedFileTest, StickyWorldWritableParentNeedsTheToken) {
  const std::string loose = directory.path() + "/tmp";
  std::filesystem::create_directories(loose + "/mine");
  chmod(loose.c_str(), 01777);
  const std::string path = file("tmp/mine/a.so");
  EXPECT_EQ(errorOf(path).text(), loose + " is writable by others (mode 1777)");
  TrustRules rules;
  rules.insecureDirectories = true;
  EXPECT_EQ(openTrustedFile(path, rules).weaknesses, std::vector<std::string>{loose + " is writable by others (mode 1777)"});
}

TEST_F(TrustedFileTest, ForeignOwnerNeedsTheToken) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  std::filesystem::create_directory(directory.path() + "/theirs");
  const std::string path = file("theirs/a.so");
  ASSERT_EQ(chown((directory.path() + "/theirs").c_str(), 4321, 0), 0);
  const Error e = errorOf(path);
  EXPECT_EQ(e.text(), directory.path() + "/theirs belongs to uid 4321, expected root");
  EXPECT_EQ(e.hint(), "give it to root, or, for development only, set plugins.allow_unsafe_directories");
  ASSERT_EQ(chown(path.c_str(), 4321, 0), 0);
  TrustRules rules;
  rules.insecureDirectories = true;
  EXPECT_EQ(openTrustedFile(path, rules).weaknesses,
            (std::vector<std::string>{directory.path() + "/theirs belongs to uid 4321, expected root",
                                      path + " belongs to uid 4321, expected root"}));
}

// A daemon that is not root, with a private directory of its own user: nothing of it belongs to root, nobody else can write it. It works
// without the option, and is shown.
TEST(TrustedFile, APrivateDevelopmentDirectoryIsFineAndShown) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  std::string parent = "/run/rauha-test-XXXXXX";
  ASSERT_NE(mkdtemp(parent.data()), nullptr);
  const Defer remove([&] { std::filesystem::remove_all(parent); });
  ASSERT_EQ(chmod(parent.c_str(), 0755), 0);
  const std::string home = parent + "/home", path = home + "/a.so";
  ASSERT_EQ(mkdir(home.c_str(), 0700), 0);
  {
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
    ASSERT_TRUE(fd);
    writeAll(fd.get(), "x", path);
  }
  ASSERT_EQ(chown(home.c_str(), 4321, 4321), 0);
  ASSERT_EQ(chown(path.c_str(), 4321, 4321), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresgid(4321, 4321, 4321) != 0 || setresuid(4321, 4321, 4321) != 0) _exit(2);
    try {
      const auto weaknesses = openTrustedFile(path, {}).weaknesses;
      if (weaknesses != std::vector<std::string>{path + " belongs to uid 4321, the daemon's own"}) _exit(3);
      if (chmod(home.c_str(), 0777) != 0) _exit(2);
      openTrustedFile(path, {});
    } catch (const Error& e) {
      _exit(e.text() == home + " is writable by others (mode 0777)" ? 0 : 4);
    }
    _exit(5);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(TrustedFileTest, LinksAreRefusedAnywhere) {
  const std::string path = file("a.so");
  const std::string link = directory.path() + "/b.so";
  ASSERT_EQ(symlink("a.so", link.c_str()), 0);
  EXPECT_EQ(errorOf(link).text(), link + " is a symbolic link");
  EXPECT_EQ(errorOf(link, true).text(), link + " is a symbolic link");
  const std::string linkedDirectory = directory.path() + "/d";
  ASSERT_EQ(symlink(".", linkedDirectory.c_str()), 0);
  EXPECT_EQ(errorOf(linkedDirectory + "/a.so").text(), linkedDirectory + " is a symbolic link");
}

TEST_F(TrustedFileTest, OnlyRegularFiles) {
  std::filesystem::create_directory(directory.path() + "/d.so");
  EXPECT_EQ(errorOf(directory.path() + "/d.so").text(), directory.path() + "/d.so is not a regular file");
  const std::string fifo = directory.path() + "/f.so";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0644), 0);
  EXPECT_EQ(errorOf(fifo).text(), fifo + " is not a regular file");  // and does not hang
}

TEST_F(TrustedFileTest, SizeIsBounded) {
  const std::string path = file("a.so", 0644, 1001);
  EXPECT_EQ(errorOf(path).text(), path + " has 1001 bytes, at most 1000");
  EXPECT_EQ(errorOf(path).code(), Code::limit);
}

TEST_F(TrustedFileTest, PathsMustBePlain) {
  EXPECT_EQ(errorOf("a.so").text(), "\"a.so\" is not an absolute path");
  EXPECT_EQ(errorOf("").text(), "\"\" is not an absolute path");
  EXPECT_EQ(errorOf("/usr/../a.so").text(), "/usr/../a.so contains \"..\"");
  EXPECT_EQ(errorOf("/").text(), "/ is not a regular file");
}

}  // namespace
}  // namespace rauha::plugin
