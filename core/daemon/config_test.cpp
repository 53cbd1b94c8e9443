#include "core/daemon/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

#include "core/base/error.h"

namespace rauha {
namespace {

std::string refusal(const std::string& toml) {
  try {
    parseConfig(toml, "x.toml");
  } catch (const Error& e) {
    return e.text();
  }
  return "accepted";
}

TEST(Config, EmptyGivesDefaults) {
  const Config c = parseConfig("", "x.toml");
  EXPECT_EQ(c.backend, "backend-linux");
  EXPECT_EQ(c.images, "image-oci");
  EXPECT_EQ(c.enforcer, "none");
}

TEST(Config, ReadsEverything) {
  const Config c = parseConfig(R"([daemon]
socket_group = "g"
idle_exit = "5s"
workers = 8
task_history = 10
[plugins]
directories = ["/opt/p"]
allow_unsafe_directories = true
[plugin.backend-linux]
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
cgroup_parent = "/x"
)",
                               "x.toml");
  EXPECT_EQ(c.socketGroup, "g");
  EXPECT_EQ(c.idleExitMs, 5000u);
  EXPECT_EQ(c.workers, 8u);
  EXPECT_TRUE(c.allowUnsafeDirectories);
  EXPECT_EQ(c.pluginDirectories, std::vector<std::string>{"/opt/p"});
  EXPECT_EQ(c.plugins.at("backend-linux").sha256.size(), 64u);
  EXPECT_NE(c.plugins.at("backend-linux").toml.find("cgroup_parent"), std::string::npos);
  EXPECT_EQ(c.plugins.at("backend-linux").toml.find("sha256"), std::string::npos);
}

TEST(Config, RefusalsNameFileLineAndKey) {
  EXPECT_EQ(refusal("[daemon]\nworker = 1\n"), "x.toml:2: daemon.worker: unknown key");
  EXPECT_EQ(refusal("[plugins]\n\ndirectories = [\"rel\"]\n"), "x.toml:3: plugins.directories: must be an array of absolute paths");
  EXPECT_EQ(refusal("[daemon]\nworkers = 0\n"), "x.toml:2: daemon.workers: must be a whole number from 1 to 64");
  EXPECT_EQ(refusal("[daemon]\nidle_exit = \"5\"\n"), "x.toml:2: daemon.idle_exit: '5' is not a duration of at least 100ms");
  EXPECT_NE(refusal("[plugins]\nenforcer = \"bpf\"\n"), "accepted");
  EXPECT_NE(refusal("[plugin.x]\nsha256 = \"00\"\n"), "accepted");
  EXPECT_NE(refusal("daemon = 1\n"), "accepted");
  EXPECT_NE(refusal("[daemon\n"), "accepted");
}

TEST(Config, FileThatOthersMayWriteIsRefused) {
  char path[] = "/tmp/rauha-config-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  fchmod(fd, 0666);
  EXPECT_THROW(loadConfig(path, true), Error);
  fchmod(fd, 0644);
  EXPECT_NO_THROW(loadConfig(path, true));
  unlink(path);
  EXPECT_THROW(loadConfig(path, true), Error);
  EXPECT_NO_THROW(loadConfig(path, false));
}

}  // namespace
}  // namespace rauha
