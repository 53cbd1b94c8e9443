#include "frontends/cli/sandbox_options.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

Invocation call(std::vector<std::string> options) {
  Invocation invocation;
  invocation.options = {"--image", "host"};
  invocation.options.insert(invocation.options.end(), options.begin(), options.end());
  invocation.command = {"true"};
  invocation.dashes = true;
  return invocation;
}

TEST(SandboxOptions, everyOption) {
  const auto options = parseSandboxOptions(
      call({"--name",   "n",   "--policy", "strict", "--repo",    ".",   "--repo-mode", "rw", "--workdir",   "/w",
            "--env",    "A=1", "--env",    "B=x=y",  "--timeout", "90s", "--user",      "u",  "--keep-zone", "--allow-degraded",
            "landlock", "-t",  "--trace"}));
  ASSERT_TRUE(options);
  EXPECT_EQ(options->image, "host");
  EXPECT_EQ(options->name, "n");
  EXPECT_EQ(options->policy, "strict");
  EXPECT_EQ(options->repoPath, ".");
  EXPECT_EQ(options->repoMode, RepoMode::rw);
  EXPECT_EQ(options->workdir, "/w");
  EXPECT_EQ(options->env, (std::vector<std::string>{"A=1", "B=x=y"}));
  EXPECT_EQ(options->timeoutMs, 90'000u);
  EXPECT_EQ(options->user, "u");
  EXPECT_TRUE(options->keepZone && options->terminal && options->trace);
  EXPECT_EQ(options->allowDegraded, (std::vector<std::string>{"landlock"}));
}

TEST(SandboxOptions, valuesAreTakenAsTheyAre) {
  // No comma splitting, no brackets, no quotes: what the shell gave is the value.
  const auto options = parseSandboxOptions(call({"--env", "LIST=a,b", "--env", "J=[1,2]", "--env", "Q=\"x\"", "--env", "E="}));
  EXPECT_EQ(options->env, (std::vector<std::string>{"LIST=a,b", "J=[1,2]", "Q=\"x\"", "E="}));
}

TEST(SandboxOptions, optionDoesNotSwallowTheNextWord) {
  EXPECT_THROW(parseSandboxOptions(call({"--env", "A=1", "B=2"})), Error);
  EXPECT_THROW(parseSandboxOptions(call({"--name"})), Error);
}

TEST(SandboxOptions, modesThatAreNotThereYet) {
  auto codeOf = [](std::vector<std::string> options) {
    try {
      parseSandboxOptions(call(std::move(options)));
    } catch (const Error& e) {
      return e.code();
    }
    return Code::none;
  };
  EXPECT_EQ(codeOf({"--repo", "."}), Code::invalid);
  EXPECT_EQ(codeOf({"--repo", ".", "--repo-mode", "overlay"}), Code::unsupported);
  EXPECT_EQ(codeOf({"--repo", "", "--repo-mode", "ro"}), Code::invalid);
  EXPECT_EQ(codeOf({"--repo", ".", "--repo-mode", "ro"}), Code::none);
}

}  // namespace
}  // namespace rauha::cli
