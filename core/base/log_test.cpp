#include "core/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha {
namespace {

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/rauha-log-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory = name;
    file = directory + "/rauhad.log";
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  std::string directory, file;
};

TEST_F(LogTest, OneLineWithTimeLevelAndArea) {
  Log log({LogLevel::info, file});
  log.info("zone", "zone_1 is ready");
  const std::string number = "[0-9][0-9]";
  EXPECT_THAT(readFile(file), testing::MatchesRegex("20" + number + "-" + number + "-" + number + "T" + number + ":" + number + ":" +
                                                    number + "\\.[0-9]" + number + "Z info zone: zone_1 is ready\n"));
}

TEST_F(LogTest, LevelsBelowAreDropped) {
  Log log({LogLevel::warning, file});
  log.debug("zone", "no");
  log.info("zone", "no");
  log.error("zone", "yes");
  EXPECT_FALSE(log.enabled(LogLevel::info));
  EXPECT_EQ(readFile(file).find("no"), std::string::npos);
  EXPECT_NE(readFile(file).find("error zone: yes"), std::string::npos);
}

TEST_F(LogTest, HostileTextStaysOneRecord) {
  Log log({LogLevel::info, file});
  log.info("rpc", std::string_view("a\nforged\x1b[31m \xff{} %v\0z", 22));
  const std::string text = readFile(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find("a\\x0aforged\\x1b[31m \xEF\xBF\xBD{} %v\\x00z"), std::string::npos) << text;
}

TEST_F(LogTest, LongTextIsCut) {
  Log log({LogLevel::info, file});
  log.info("rpc", std::string(100'000, 'x'));
  EXPECT_LT(readFile(file).size(), 4200u);
  EXPECT_NE(readFile(file).find("[cut]"), std::string::npos);
}

TEST_F(LogTest, ReopensAfterRotation) {
  Log log({LogLevel::info, file});
  log.info("a", "first");
  std::filesystem::rename(file, file + ".1");
  log.reopen();
  log.info("a", "second");
  EXPECT_EQ(readFile(file).find("first"), std::string::npos);
  EXPECT_NE(readFile(file).find("second"), std::string::npos);
  EXPECT_NE(readFile(file + ".1").find("first"), std::string::npos);
}

TEST_F(LogTest, NeverThroughALink) {
  ASSERT_EQ(symlink("/dev/null", file.c_str()), 0);
  try {
    Log log({LogLevel::info, file});
    FAIL() << "no exception";
  } catch (const Error& e) {
    EXPECT_EQ(e.text(), "open log file " + file + ": Too many levels of symbolic links");
  }
}

TEST_F(LogTest, FileIsClosedToOthers) {
  Log log({LogLevel::info, file});
  struct stat st {};
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0137, 0u);
}

TEST(LogLevels, Names) {
  EXPECT_EQ(logLevelFromName("warning"), LogLevel::warning);
  EXPECT_EQ(logLevelFromName("WARN"), std::nullopt);
}

}  // namespace
}  // namespace rauha
