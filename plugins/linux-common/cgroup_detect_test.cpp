#include "plugins/linux-common/cgroup_detect.h"

#include <gtest/gtest.h>

#include "plugins/linux-common/cgroup_file.h"

namespace rauha::cgroup {
namespace {

TEST(CgroupDetect, PureV2) {
  const auto h = parseMountinfo("30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  EXPECT_EQ(h.layout, Layout::v2);
  EXPECT_EQ(h.v2Root, "/sys/fs/cgroup");
  EXPECT_TRUE(h.v1.empty());
}

TEST(CgroupDetect, HybridWithJoinedControllersAndSystemd) {
  const auto h = parseMountinfo(
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(h.layout, Layout::hybrid);
  EXPECT_EQ(h.v2Root, "/sys/fs/cgroup/unified");
  const std::vector<std::pair<std::string, std::string>> want = {
      {"cpu", "/sys/fs/cgroup/cpu,cpuacct"}, {"cpuacct", "/sys/fs/cgroup/cpu,cpuacct"}, {"memory", "/sys/fs/cgroup/memory"}};
  EXPECT_EQ(h.v1, want);
}

TEST(CgroupDetect, NamedHierarchyAloneIsPureV2) {
  const auto h = parseMountinfo("40 31 0:37 / /s rw - cgroup cgroup rw,name=systemd\n41 31 0:38 / /u rw - cgroup2 none rw\n");
  EXPECT_EQ(h.layout, Layout::v2);
}

TEST(CgroupDetect, NoTree) { EXPECT_TRUE(parseMountinfo("27 1 254:0 / / rw - ext4 /dev/vda rw\n").v2Root.empty()); }

TEST(CgroupDetect, LaterMountCoversButAPartNeverReplacesTheWhole) {
  EXPECT_EQ(parseMountinfo("1 0 0:1 / /a rw - cgroup2 c rw\n2 0 0:1 / /b rw - cgroup2 c rw\n").v2Root, "/b");
  EXPECT_EQ(parseMountinfo("1 0 0:1 / /a rw - cgroup2 c rw\n2 0 0:1 /sub /b rw - cgroup2 c rw\n").v2Root, "/a");
  EXPECT_EQ(parseMountinfo("1 0 0:1 /sub /a rw - cgroup2 c rw\n2 0 0:1 / /b rw - cgroup2 c rw\n").v2Root, "/b");
}

TEST(CgroupDetect, EscapedNames) { EXPECT_EQ(parseMountinfo("1 0 0:1 / /my\\040cg\\134x rw - cgroup2 c rw\n").v2Root, "/my cg\\x"); }

TEST(CgroupDetect, GarbageIsSkipped) {
  const auto h = parseMountinfo("\n - \nx\n1 0 0:1 / - cgroup2 c rw\n1 0 0:1 / /a rw - cgroup2\n2 0 0:1 / /ok rw - cgroup2 c rw");
  EXPECT_EQ(h.v2Root, "/ok");
}

TEST(CgroupDetect, OwnPath) {
  EXPECT_EQ(parseV2Path("9:name=systemd:/x\n0::/system.slice/rauhad.service/daemon\n"), "/system.slice/rauhad.service/daemon");
  EXPECT_EQ(parseV2Path("3:memory:/x\n"), "");
}

TEST(CgroupDetect, Words) {
  EXPECT_TRUE(listContains("cpu io memory\n", "memory"));
  EXPECT_FALSE(listContains("cpuset io\n", "cpu"));
  EXPECT_FALSE(listContains("", "cpu"));
}

TEST(CgroupFile, KeyValueLines) {
  const std::string text = "low 1\noom 2\noom_kill 3\noom_group_kill 4\n";
  EXPECT_EQ(valueOf(text, "oom"), 2u);
  EXPECT_EQ(valueOf(text, "oom_kill"), 3u);
  EXPECT_EQ(valueOf(text, "kill"), std::nullopt);
  EXPECT_EQ(valueOf("oom_kill x\n", "oom_kill"), std::nullopt);
  EXPECT_EQ(valueOf("", "a"), std::nullopt);
}

}  // namespace
}  // namespace rauha::cgroup
