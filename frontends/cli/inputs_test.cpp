#include "frontends/cli/inputs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "frontends/cli/builtin_policies.h"

namespace rauha::cli {
namespace {

namespace fs = std::filesystem;

class Inputs : public ::testing::Test {
 protected:
  Inputs() {
    std::string name = (fs::temp_directory_path() / "rauha-inputs-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throwErrno("task", "mkdtemp");
    directory = name;
  }
  ~Inputs() override { fs::remove_all(directory); }
  Code codeOf(const std::string& reference) const {
    try {
      openImageSource(reference);
    } catch (const Error& e) {
      return e.code();
    }
    return Code::none;
  }
  bool sameFile(const UniqueFd& fd, const std::string& path) const {
    struct stat a {
    }, b{};
    return fstat(fd.get(), &a) == 0 && stat(path.c_str(), &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
  }
  std::string directory;
};

TEST_F(Inputs, imageReferencesWithoutAPathOpenNothing) {
  for (const char* reference : {"host", "name:tag", "docker.io/library/python:3.12", "", "ocix:y"})
    EXPECT_FALSE(openImageSource(reference)) << reference;
}

TEST_F(Inputs, tagIsCutOffTheLongestPathThatExists) {
  const std::string layout = directory + "/layout";
  fs::create_directory(layout);
  EXPECT_TRUE(sameFile(openImageSource("oci:" + layout), layout));
  EXPECT_TRUE(sameFile(openImageSource("oci:" + layout + ":v1.2"), layout));
  EXPECT_TRUE(sameFile(openImageSource("oci:" + layout + "@sha256:" + std::string(64, '0')), layout));
  const std::string odd = directory + "/a:b";
  fs::create_directory(odd);
  EXPECT_TRUE(sameFile(openImageSource("oci:" + odd + ":v1"), odd));
  EXPECT_EQ(codeOf("oci:" + odd), Code::invalid) << "the daemon would take 'b' for a tag";
  EXPECT_TRUE(sameFile(openImageSource("dir:" + odd), odd)) << "a directory has no tag";
  std::ofstream(directory + "/i.tar") << "x";
  EXPECT_TRUE(sameFile(openImageSource("docker-archive:" + directory + "/i.tar:name:tag"), directory + "/i.tar"));
}

TEST_F(Inputs, pathsBehindTheSchemeOfAPlugin) {
  std::ofstream(directory + "/file") << "x";
  fs::create_directory(directory + "/tree:1");
  EXPECT_TRUE(sameFile(openImageSource("snapshot:" + directory), directory));
  EXPECT_TRUE(sameFile(openImageSource("snap+x.1:" + directory + "/file"), directory + "/file"));
  EXPECT_TRUE(sameFile(openImageSource("snapshot:" + directory + "/tree:1"), directory + "/tree:1")) << "the rest is the path, whole";
  EXPECT_TRUE(sameFile(openImageSource("snapshot:."), "."));
  EXPECT_TRUE(sameFile(openImageSource("snapshot:../"), ".."));
  for (const char* reference :
       {"snapshot:name", "snapshot:name:tag", "localhost:5000/x", "Snapshot:/", ":/", "a b:/", "snapshot:.x", "/usr"})
    EXPECT_FALSE(openImageSource(reference)) << reference;
  EXPECT_EQ(codeOf("snapshot:" + directory + "/none"), Code::notFound);
  ASSERT_EQ(mkfifo((directory + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(codeOf("snapshot:" + directory + "/fifo"), Code::invalid) << "and it does not wait for a writer";
}

TEST_F(Inputs, imagesThatCannotBeOpened) {
  EXPECT_EQ(codeOf("oci:" + directory + "/none:v1"), Code::notFound);
  EXPECT_EQ(codeOf("oci-archive:" + directory), Code::invalid);
  ASSERT_EQ(mkfifo((directory + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(codeOf("oci-archive:" + directory + "/fifo"), Code::invalid) << "and it does not wait for a writer";
  EXPECT_EQ(codeOf("dir:"), Code::invalid);
}

TEST_F(Inputs, policies) {
  for (const char* name : {"task", "standard", "strict", "privileged"}) {
    ASSERT_TRUE(builtinPolicy(name)) << name;
    EXPECT_EQ(readPolicy(name).toml, *builtinPolicy(name));
    EXPECT_EQ(readPolicy(name).source, name);
  }
  EXPECT_FALSE(builtinPolicy(""));
  const std::string path = directory + "/p.toml";
  std::ofstream(path) << "name = 'p'\n";
  EXPECT_EQ(readPolicy(path).toml, "name = 'p'\n");
  EXPECT_EQ(readPolicy(path).source, path);
  EXPECT_THROW(readPolicy(""), Error);
  EXPECT_THROW(readPolicy(directory + "/none.toml"), Error);
}

// Becomes an ordinary user for a while, when root runs the tests: root may read everything.
class OrdinaryUser {
 public:
  OrdinaryUser() {
    if (geteuid() == 0 && seteuid(65534) != 0) ADD_FAILURE() << "seteuid";
  }
  ~OrdinaryUser() {
    if (getuid() == 0 && seteuid(0) != 0) abort();
  }
};

TEST_F(Inputs, repositoryThatTheCallerMayNotRead) {
  const std::string closed = directory + "/closed", readable = directory + "/readable";
  fs::create_directory(closed);
  fs::create_directory(readable);
  fs::permissions(directory, fs::perms(0755));
  fs::permissions(closed, fs::perms::none);
  fs::permissions(readable, fs::perms(0555));
  const OrdinaryUser user;
  EXPECT_THROW(openRepository(closed, false), Error);
  EXPECT_NO_THROW(openRepository(readable, false));
  try {
    openRepository(readable, true);
    ADD_FAILURE() << "a directory that cannot be written was accepted for writing";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::denied) << e.text();
    EXPECT_NE(e.hint().find("--repo-mode ro"), std::string::npos);
  }
}

TEST_F(Inputs, aGitDirectoryOutsideIsFound) {
  directory = fs::canonical(directory).string();
  fs::create_directories(directory + "/repo/inner");
  fs::create_directories(directory + "/main/.git/worktrees/repo");
  const std::string repo = directory + "/repo", outside = directory + "/main/.git/worktrees/repo";
  const auto found = [&] {
    const UniqueFd fd(open(repo.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return gitDirectoryOutside(fd.get(), repo);
  };
  EXPECT_EQ(found(), "");
  const auto put = [&](const std::string& text) { std::ofstream(repo + "/.git") << text; };
  put("gitdir: " + outside + "\n");
  EXPECT_EQ(found(), outside);
  put("gitdir: ../main/.git/worktrees/repo\n");
  EXPECT_EQ(found(), outside);
  put("gitdir: ../gone\n");
  EXPECT_EQ(found(), directory + "/gone");
  put("gitdir: inner\n");
  EXPECT_EQ(found(), "");
  for (const char* none : {"", "gitdir: ", "something else\n"}) {
    put(none);
    EXPECT_EQ(found(), "") << none;
  }
  fs::remove(repo + "/.git");
  fs::create_directory(repo + "/.git");
  EXPECT_EQ(found(), "");
  fs::remove(repo + "/.git");
  fs::create_symlink(outside, repo + "/.git");
  EXPECT_EQ(found(), "") << "a link is not read here";
}

}  // namespace
}  // namespace rauha::cli
