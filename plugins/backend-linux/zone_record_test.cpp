#include "plugins/backend-linux/zone_record.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace rauha::backend {
namespace {
namespace fs = std::filesystem;

struct ZoneRecordTest : testing::Test {
  ZoneRecordTest() {
    std::string name = (fs::temp_directory_path() / "rauha-record-XXXXXX").string();
    root = ::mkdtemp(name.data());
  }
  ~ZoneRecordTest() override { fs::remove_all(root); }
  std::string root;
};

TEST_F(ZoneRecordTest, RoundTrip) {
  ZoneRecord record;
  record.zoneId = "zone_x";
  record.shim = {42, 1234567890123};
  record.hostIdBase = 0x70000000;
  record.ephemeral = true;
  record.groups = {{"", "/a/zone_x"}, {"memory", "/b/zone_x"}};
  record.limits.pids = 7;
  record.limits.ioReadBps = uint64_t{1} << 40;
  writeRecord(root, record);
  const auto back = readRecord(root);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->zoneId, "zone_x");
  EXPECT_EQ(back->shim.pid, 42);
  EXPECT_EQ(back->shim.startTicks, 1234567890123u);
  EXPECT_EQ(back->hostIdBase, 0x70000000u);
  EXPECT_TRUE(back->ephemeral);
  ASSERT_EQ(back->groups.size(), 2u);
  EXPECT_EQ(back->groups[1].path, "/b/zone_x");
  EXPECT_EQ(back->limits.pids, 7u);
  EXPECT_EQ(back->limits.ioReadBps, uint64_t{1} << 40);
  EXPECT_FALSE(back->limits.memoryBytes);
  EXPECT_FALSE(fs::exists(root + "/boundary.json.new"));
}

TEST_F(ZoneRecordTest, MissingTornAndHostileFilesAreNoRecord) {
  EXPECT_FALSE(readRecord(root));
  for (const char* text : {"", "{", "[]", "{\"zone\":1}", "{\"zone\":\"a\",\"shim_pid\":\"x\"}", "null", "\xff\xfe"}) {
    std::ofstream(root + "/boundary.json", std::ios::trunc) << text;
    EXPECT_FALSE(readRecord(root)) << text;
  }
  std::ofstream(root + "/boundary.json", std::ios::trunc) << std::string(100'000, '[');
  EXPECT_FALSE(readRecord(root));
}

}  // namespace
}  // namespace rauha::backend
