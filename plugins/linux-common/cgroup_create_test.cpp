// The group tree over ordinary directories: naming, layout, what is removed, and what a missing controller is reported as.
#include "plugins/linux-common/cgroup_create.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::cgroup {
namespace {
namespace fs = std::filesystem;

struct FakeTree : testing::Test {
  FakeTree() {
    std::string name = (fs::temp_directory_path() / "rauha-cg-XXXXXX").string();
    root = ::mkdtemp(name.data());
  }
  ~FakeTree() override { fs::remove_all(root); }
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  std::string text(const std::string& path) const {
    std::ifstream in(root / path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Hierarchies hybrid() const {
    Hierarchies h;
    h.layout = Layout::hybrid;
    h.v2Root = (root / "u").string();
    for (const char* c : {"memory", "pids", "cpu"}) {
      h.v1.emplace_back(c, (root / c).string());
      fs::create_directories(root / c);
    }
    fs::create_directories(root / "u");
    return h;
  }
  fs::path root;
};

TEST(Placement, OperatorThenDelegationThenInstance) {
  EXPECT_EQ(choosePlacement("/my.slice/x/", "/a.service/daemon", "rauha").base, "my.slice/x/rauha");
  const Placement p = choosePlacement("", "/system.slice/rauhad.service/daemon", "rauha");
  EXPECT_EQ(p.base, "system.slice/rauhad.service/zones-rauha");
  EXPECT_EQ(p.enableBelow, "system.slice/rauhad.service");
  EXPECT_EQ(choosePlacement("", "/user.slice/session-1.scope", "rauha-12ab34cd").base, "rauha-12ab34cd");
  EXPECT_EQ(choosePlacement("", "/x.service", "rauha").base, "rauha");
}

TEST_F(FakeTree, RefusesPathsThatLeaveTheTree) {
  EXPECT_THROW(GroupTree(hybrid(), {"a/../../b", ""}, "i"), Error);
  EXPECT_THROW(GroupTree(hybrid(), {"", ""}, "i"), Error);
  EXPECT_THROW(GroupTree(Hierarchies{}, {"a", ""}, "i"), Error);
}

TEST_F(FakeTree, NamesEveryGroupWithTheInstance) {
  const GroupTree tree(hybrid(), {"inst", ""}, "inst");
  const auto members = tree.membersOf("zone_a");
  ASSERT_EQ(members.size(), 4u);
  EXPECT_EQ(members[0].controller, "");
  EXPECT_EQ(members[0].path, (root / "u/inst/zone_a").string());
  EXPECT_EQ(members[1].controller, "memory");
  EXPECT_EQ(members[1].path, (root / "memory/inst/zone_a").string());
}

TEST_F(FakeTree, ExistingZoneIsRefusedAndUntouched) {
  GroupTree tree(hybrid(), {"inst", ""}, "inst");
  fs::create_directories(root / "pids/inst/zone_a");
  std::vector<Layer> layers;
  try {
    tree.create("zone_a", {}, std::nullopt, layers);
    FAIL() << "made a zone over an existing one";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::exists);
  }
  EXPECT_TRUE(fs::exists(root / "pids/inst/zone_a"));
  EXPECT_FALSE(fs::exists(root / "u/inst/zone_a"));
  EXPECT_FALSE(fs::exists(root / "memory/inst/zone_a"));
}

TEST_F(FakeTree, ALimitThatCannotBeWrittenIsALayerThatIsMissing) {
  GroupTree tree(hybrid(), {"inst", ""}, "inst");
  std::vector<Layer> layers;
  Limits limits;
  limits.pids = 10;
  tree.create("zone_a", limits, std::nullopt, layers);  // no pids.max in an ordinary directory
  ASSERT_EQ(layers.size(), 4u);
  EXPECT_EQ(layers[2].name, "cgroup_pids");
  EXPECT_EQ(layers[2].state, Armed::missing);
  EXPECT_NE(layers[2].reason.find("pids.max"), std::string::npos) << layers[2].reason;
  EXPECT_EQ(layers[3].name, "cgroup_io");
  EXPECT_EQ(layers[3].state, Armed::missing);
  EXPECT_THROW(tree.update("zone_a", limits, std::nullopt), Error);
}

TEST_F(FakeTree, UpdateWritesOnlyWhatIsGiven) {
  GroupTree tree(hybrid(), {"inst", ""}, "inst");
  file("u/inst/z/x", "");
  for (const char* f : {"pids/inst/z/pids.max", "cpu/inst/z/cpu.cfs_quota_us", "cpu/inst/z/cpu.cfs_period_us", "cpu/inst/z/cpu.shares"})
    file(f, "");
  Limits limits;
  limits.cpuMillis = 1500;
  tree.update("z", limits, std::nullopt);
  EXPECT_EQ(text("cpu/inst/z/cpu.cfs_quota_us"), "150000");
  EXPECT_EQ(text("cpu/inst/z/cpu.cfs_period_us"), "100000");
  EXPECT_EQ(text("cpu/inst/z/cpu.shares"), "");
  EXPECT_EQ(text("pids/inst/z/pids.max"), "");
  limits.cpuMillis = 2;  // below the kernel's smallest quota with the usual period
  tree.update("z", limits, std::nullopt);
  EXPECT_TRUE(text("cpu/inst/z/cpu.cfs_period_us").starts_with("1000000")) << text("cpu/inst/z/cpu.cfs_period_us");
}

TEST_F(FakeTree, FindsAndRemovesZonesOfAnyHierarchy) {
  GroupTree tree(hybrid(), {"inst", ""}, "inst");
  fs::create_directories(root / "u/inst/zone_a/nested");
  fs::create_directories(root / "memory/inst/zone_b");
  fs::create_directories(root / "memory/other/zone_c");
  fs::create_directories(root / "u/inst/daemon");  // where a daemon keeps itself
  EXPECT_EQ(tree.found(), (std::vector<std::string>{"zone_a", "zone_b"}));
  tree.remove("zone_a", monotonicNs());
  tree.remove("zone_b", monotonicNs());
  tree.remove("zone_b", monotonicNs());  // again: nothing to do
  EXPECT_TRUE(tree.found().empty());
  EXPECT_TRUE(fs::remove(root / "u/inst/daemon"));
  tree.removeBase();
  EXPECT_FALSE(fs::exists(root / "u/inst"));
  EXPECT_TRUE(fs::exists(root / "memory/other/zone_c"));
}

TEST_F(FakeTree, HandsControllersDownOnlyWhereItMay) {
  Hierarchies h;
  h.v2Root = (root / "u").string();
  file("u/cgroup.controllers", "cpu memory pids");
  file("u/cgroup.subtree_control", "");
  file("u/s/cgroup.controllers", "cpu memory");
  file("u/s/cgroup.subtree_control", "cpu");
  GroupTree tree(h, {"s/zones", "s"}, "inst");
  std::vector<Layer> layers;
  tree.create("z", {}, std::nullopt, layers);
  EXPECT_EQ(text("u/cgroup.subtree_control"), "");
  EXPECT_EQ(text("u/s/cgroup.subtree_control"), "+memory");
  EXPECT_TRUE(fs::is_directory(root / "u/s/zones/z"));
  for (const Layer& l : layers) EXPECT_EQ(l.state, Armed::missing) << l.name;  // the fake kernel hands nothing to the base
}

TEST_F(FakeTree, BlockDeviceIsTheWholeDisk) {
  struct stat st {};
  ASSERT_EQ(::stat(root.c_str(), &st), 0);
  if (major(st.st_dev) == 0) GTEST_SKIP() << "the temporary directory is not on a block device";
  const std::string number = std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev));
  EXPECT_EQ(blockDeviceOf(root.string(), (root / "sys").string()), std::nullopt);
  fs::create_directories(root / "sys/disk/part");
  file("sys/disk/dev", "8:0\n");
  fs::create_directories(root / "sys/dev/block");
  fs::create_directory_symlink(root / "sys/disk/part", root / "sys/dev/block" / number);
  EXPECT_EQ(blockDeviceOf(root.string(), (root / "sys").string()), number);
  file("sys/disk/part/partition", "1\n");
  EXPECT_EQ(blockDeviceOf(root.string(), (root / "sys").string()), "8:0");
}

}  // namespace
}  // namespace rauha::cgroup
