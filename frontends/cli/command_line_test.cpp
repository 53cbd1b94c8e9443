#include "frontends/cli/command_line.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

TEST(CommandLine, splitsAtTheDashes) {
  const auto line = readCommandLine({"sandbox", "--image", "host", "--", "ls", "--", "--json"});
  EXPECT_EQ(line.command, "sandbox");
  EXPECT_EQ(line.invocation.options, (std::vector<std::string>{"--image", "host"}));
  EXPECT_EQ(line.invocation.command, (std::vector<std::string>{"ls", "--", "--json"}));
  EXPECT_TRUE(line.invocation.dashes);
  EXPECT_FALSE(line.invocation.json);
}

TEST(CommandLine, globalOptionsBeforeTheName) {
  const auto line = readCommandLine({"--root", "/x", "--json", "zone", "list"});
  EXPECT_EQ(line.command, "zone");
  EXPECT_EQ(line.invocation.root, "/x");
  EXPECT_TRUE(line.invocation.json);
  EXPECT_EQ(readCommandLine({"--root=/y", "zone"}).invocation.root, "/y");
  EXPECT_TRUE(readCommandLine({"--help"}).help);
  EXPECT_TRUE(readCommandLine({"--version"}).version);
}

TEST(CommandLine, mistakes) {
  EXPECT_THROW(readCommandLine({"--root"}), Error);
  EXPECT_THROW(readCommandLine({"--root", "--", "x"}), Error);
  EXPECT_THROW(readCommandLine({"-x", "zone"}), Error);
  EXPECT_EQ(readCommandLine({}).command, "");
  EXPECT_EQ(readCommandLine({"--", "x"}).command, "");
}

}  // namespace
}  // namespace rauha::cli
