#include "core/daemon/options.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/base/error.h"

namespace rauha {
namespace {

std::optional<Options> parse(std::vector<const char*> args) {
  args.insert(args.begin(), "rauhad");
  return parseOptions(static_cast<int>(args.size()), const_cast<char**>(args.data()));
}

TEST(Options, Parse) {
  unsetenv("RAUHA_ROOT");
  const auto o = parse({"--root", "/x", "--on-demand", "--ready-fd", "7"});
  ASSERT_TRUE(o);
  EXPECT_EQ(o->root, "/x");
  EXPECT_TRUE(o->onDemand);
  EXPECT_EQ(o->readyFd, 7);
}

TEST(Options, RootFromTheEnvironment) {
  setenv("RAUHA_ROOT", "/from-env", 1);
  EXPECT_EQ(parse({})->root, "/from-env");
  EXPECT_EQ(parse({"--root", "/y"})->root, "/y");
  unsetenv("RAUHA_ROOT");
}

TEST(Options, Refusals) {
  EXPECT_THROW(parse({"--rot", "/x"}), Error);
  EXPECT_THROW(parse({"--root"}), Error);
  EXPECT_THROW(parse({"--ready-fd", "1"}), Error);
  EXPECT_THROW(parse({"--ready-fd", "7x"}), Error);
}

}  // namespace
}  // namespace rauha
