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
  EXPECT_EQ(c.images, std::vector<std::string>{"image-oci"});
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

TEST(Config, Changes) {
  const Config none = parseConfig("", "x.toml");
  EXPECT_EQ(none.changes.keepMs, 7ULL * 24 * 3600 * 1000);
  EXPECT_EQ(none.changes.keepBytes, 2ULL << 30);
  EXPECT_TRUE(none.changes.protectedPatterns.empty());
  const Config c =
      parseConfig("[changes]\nkeep = \"2d\"\nkeep_bytes = \"10MiB\"\nmax_changes = 5\nprotected = [\"Makefile\", \"a/b\"]\n", "x.toml");
  EXPECT_EQ(c.changes.keepMs, 2ULL * 24 * 3600 * 1000);
  EXPECT_EQ(c.changes.keepBytes, 10ULL << 20);
  EXPECT_EQ(c.changes.maxChanges, 5U);
  EXPECT_EQ(c.changes.protectedPatterns, (std::vector<std::string>{"Makefile", "a/b"}));
  EXPECT_EQ(parseConfig("[changes]\nkeep = \"0\"\nprotected = []\n", "x.toml").changes.keepMs, 0U);
  EXPECT_EQ(parseConfig("[changes]\nkeep = \"90m\"\n", "x.toml").changes.keepMs, 90ULL * 60 * 1000);
  EXPECT_EQ(refusal("[changes]\nkeep = \"7\"\n"), "x.toml:2: changes.keep: '7' is not a duration");
  EXPECT_EQ(refusal("[changes]\nkeep = \"\"\n"), "x.toml:2: changes.keep: '' is not a duration");
  EXPECT_EQ(refusal("[changes]\nkeep_bytes = \"0\"\n"), "x.toml:2: changes.keep_bytes: '0' is not a size");
  EXPECT_EQ(refusal("[changes]\nkept = \"7d\"\n"), "x.toml:2: changes.kept: unknown key");
  EXPECT_EQ(refusal("[changes]\nprotected = [\"../x\"]\n"), "x.toml:2: changes.protected: '../x' is no name or path inside a repository");
  EXPECT_NE(refusal("[changes]\nprotected = [1]\n"), "accepted");
  EXPECT_NE(refusal("[changes]\nmax_changes = 0\n"), "accepted");
}

TEST(Config, RefusalsNameFileLineAndKey) {
  EXPECT_EQ(refusal("[daemon]\nworker = 1\n"), "x.toml:2: daemon.worker: unknown key");
  EXPECT_EQ(refusal("[plugins]\n\ndirectories = [\"rel\"]\n"), "x.toml:3: plugins.directories: must be an array of absolute paths");
  EXPECT_EQ(refusal("[daemon]\nworkers = 0\n"), "x.toml:2: daemon.workers: must be a whole number from 1 to 64");
  EXPECT_EQ(refusal("[daemon]\nidle_exit = \"5\"\n"), "x.toml:2: daemon.idle_exit: '5' is not a duration from 100ms to 168h");
  EXPECT_NE(refusal("[plugins]\nnetwork = \"bridge\"\n"), "accepted");
  EXPECT_EQ(parseConfig("[plugins]\nenforcer = \"counter\"\n", "x").enforcer, "counter");
  EXPECT_NE(refusal("[plugin.x]\nsha256 = \"00\"\n"), "accepted");
  EXPECT_NE(refusal("daemon = 1\n"), "accepted");
  EXPECT_NE(refusal("[daemon\n"), "accepted");
}

TEST(Config, SeveralImagePlugins) {
  EXPECT_EQ(parseConfig("[plugins]\nimages = 'a'\n", "x").images, std::vector<std::string>{"a"});
  const Config c = parseConfig("[plugins]\nimages = ['b', 'a']\n[plugin.b]\nschemes = ['snap', 'x+y']\nlimit = 1\n", "x");
  EXPECT_EQ(c.images, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(c.plugins.at("b").schemes, (std::vector<std::string>{"snap", "x+y"}));
  EXPECT_EQ(c.plugins.at("b").toml.find("schemes"), std::string::npos) << "the key is the daemon's";

  EXPECT_EQ(refusal("[plugins]\nimages = []\n"), "x.toml:2: plugins.images: must be a plugin's name or a list of names");
  EXPECT_EQ(refusal("[plugins]\nimages = 1\n"), "x.toml:2: plugins.images: must be a plugin's name or a list of names");
  EXPECT_EQ(refusal("[plugins]\nimages = ['a', 'a']\n"), "x.toml:2: plugins.images: names a plugin twice");
  EXPECT_EQ(refusal("[plugins]\nimages = ['a', 'b']\n"),
            "x.toml:2: plugins.images: a and b have no schemes, and only one can answer for what nobody claims");
  const std::string two = "[plugins]\nimages = ['a', 'b', 'c']\n[plugin.b]\nschemes = ['ss']\n[plugin.c]\nschemes = ";
  EXPECT_EQ(refusal(two + "['tt']\n"), "accepted");
  EXPECT_EQ(refusal(two + "['s']\n"), "x.toml:6: plugin.c.schemes: 's' is no scheme: [a-z][a-z0-9+.-], 2 to 32 characters");
  EXPECT_EQ(refusal("[plugins]\nimages = ['a', 'b', 'c']\n[plugin.b]\nschemes = ['snap']\n[plugin.c]\nschemes = ['snap']\n"),
            "x.toml:6: plugin.c.schemes: 'snap' is claimed by b already");
  EXPECT_EQ(refusal("[plugin.image-oci]\nschemes = ['snap']\n"),
            "x.toml:1: plugins.images: every plugin in it has schemes, and none answers for the rest");
  EXPECT_EQ(refusal("[plugin.b]\nschemes = ['snap']\n"), "x.toml:2: plugin.b.schemes: the plugin is not in plugins.images");
}

TEST(Config, AProcessForAPlugin) {
  EXPECT_FALSE(parseConfig("[plugin.image-oci]\nisolation = 'none'\n", "x").plugins.at("image-oci").isolation);
  const auto plain = *parseConfig("[plugin.image-oci]\nisolation = 'process'\nx = 1\n", "x").plugins.at("image-oci").isolation;
  EXPECT_FALSE(plain.network);
  EXPECT_EQ(plugin::capabilityNames(plain.capabilities), "chown, dac_override, fowner, fsetid, mknod, setfcap");
  const std::string wide =
      "[plugin.p]\nisolation = 'process'\nown = 1\n[plugin.p.process]\nnetwork = true\ncapabilities = ['chown']\nread = ['/srv']\nmemory = '1GiB'\n";
  const Config c = parseConfig(wide, "x");
  const PluginSection& p = c.plugins.at("p");
  EXPECT_TRUE(p.isolation->network);
  EXPECT_EQ(p.isolation->capabilities, 1u);
  EXPECT_EQ(p.isolation->read, std::vector<std::string>{"/srv"});
  EXPECT_EQ(p.isolation->memoryBytes, 1u << 30);
  EXPECT_EQ(p.toml.find("process"), std::string::npos) << "these keys are the daemon's";
  EXPECT_NE(p.toml.find("own = 1"), std::string::npos);

  const std::string process = "[plugin.p]\nisolation = 'process'\n[plugin.p.process]\n";
  EXPECT_EQ(refusal("[plugin.p]\nisolation = 'vm'\n"), "x.toml:2: plugin.p.isolation: must be \"none\" or \"process\"");
  EXPECT_EQ(refusal("[plugin.p.process]\nnetwork = true\n"), "x.toml:1: plugin.p.process: means nothing without isolation = \"process\"");
  EXPECT_EQ(refusal(process + "speed = 1\n"), "x.toml:4: plugin.p.process.speed: unknown key");
  EXPECT_EQ(refusal(process + "network = 1\n"), "x.toml:4: plugin.p.process.network: must be true or false");
  EXPECT_EQ(refusal(process + "capabilities = ['sys_admin']\n"),
            "x.toml:4: plugin.p.process.capabilities: a plugin's process cannot have the capability sys_admin");
  for (const char* path : {"/", "srv", "/srv/", "/srv/../etc", "//srv"})
    EXPECT_EQ(refusal(process + "read = ['" + path + "']\n"),
              "x.toml:4: plugin.p.process.read: '" + std::string(path) + "' is not an absolute path below /");
  EXPECT_EQ(refusal(process + "memory = '1MiB'\n"), "x.toml:4: plugin.p.process.memory: '1MiB' is not a size of at least 64MiB");
}

// A plugin parses its own section and names lines in its refusals: they must be those of the operator's file.
TEST(Config, PluginsSeeTheLinesOfTheFile) {
  const Config c = parseConfig(
      "# comment\n[plugin.p]\nz = 1\nsha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n\n# why\na = [\n  "
      "1,\n  2]\nlast = { x = 1 }\n[plugin.p.sub]\nkey = 'v'\n",
      "x");
  EXPECT_EQ(c.plugins.at("p").toml, "\n\nz = 1\n\n\n\na = [ 1, 2 ]\n\n\nlast = { x = 1 }\n[sub]\nkey = 'v'\n");
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
