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

TEST(SandboxOptions, withoutStandardInput) {
  EXPECT_TRUE(parseSandboxOptions(call({"--no-stdin"}))->noStdin);
  EXPECT_FALSE(parseSandboxOptions(call({}))->noStdin);
  EXPECT_THROW(parseSandboxOptions(call({"--no-stdin", "--tty"})), Error);
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

TEST(SandboxOptions, mistakesNameTheOptionWhatWasGivenAndTheRemedy) {
  struct Mistake {
    std::vector<std::string> options;
    const char *text, *hint;
  };
  const Mistake mistakes[] = {{{"--imag", "x"}, "unknown option '--imag'", "did you mean '--image'?"},
                              {{"--no-such-thing"}, "unknown option '--no-such-thing'", "see"},
                              {{"-tq"}, "unknown option '-q'", "see"},
                              {{"--name"}, "--name needs a value, found none", "write --name NAME"},
                              {{"--timeout="}, "--timeout needs a value, found none", "write --timeout TIME"},
                              {{"--name", "--json"}, "--name needs a value, found the option '--json'", "write --name NAME"},
                              {{"--name", "a", "--name=b"}, "--name is given twice: 'a' and 'b'", "give it once"},
                              {{"--repo", "a", "--repo-path", "b"}, "--repo-path is given twice: 'a' and 'b'", "give it once"},
                              {{"--keep-zone=7"}, "--keep-zone takes no value, found '7'", "write --keep-zone alone"},
                              {{"extra"}, "unexpected argument 'extra'", "two dashes: -- extra"}};
  for (const auto& mistake : mistakes) {
    try {
      parseSandboxOptions(call(mistake.options));
      FAIL() << mistake.text;
    } catch (const Error& e) {
      EXPECT_EQ(e.errorClass(), "usage");
      EXPECT_EQ(e.text(), std::string("rauha sandbox: ") + mistake.text);
      EXPECT_NE(e.hint().find(mistake.hint), std::string::npos) << e.hint();
      EXPECT_NE(e.hint().find("see `rauha sandbox --help`"), std::string::npos) << e.hint();
      EXPECT_FALSE(e.object().empty());
    }
  }
}

TEST(SandboxOptions, repositoryModes) {
  auto codeOf = [](std::vector<std::string> options) {
    try {
      parseSandboxOptions(call(std::move(options)));
    } catch (const Error& e) {
      return e.code();
    }
    return Code::none;
  };
  EXPECT_EQ(parseSandboxOptions(call({"--repo", "."}))->repoMode, RepoMode::overlay) << "the default leaves the tree untouched";
  EXPECT_EQ(parseSandboxOptions(call({"--repo", ".", "--repo-mode", "overlay"}))->repoMode, RepoMode::overlay);
  EXPECT_EQ(parseSandboxOptions(call({"--repo", ".", "--repo-mode", "ro"}))->repoMode, RepoMode::ro);
  EXPECT_EQ(parseSandboxOptions(call({}))->repoMode, RepoMode::none);
  EXPECT_EQ(codeOf({"--repo", "", "--repo-mode", "ro"}), Code::invalid);
  EXPECT_EQ(codeOf({"--repo", ".", "--repo-mode", "writable"}), Code::invalid);
  EXPECT_EQ(codeOf({"--repo-mode", "overlay"}), Code::invalid);
}

TEST(SandboxOptions, followUps) {
  const auto options = parseSandboxOptions(call({"--from", "last"}));
  EXPECT_EQ(options->from, "last");
  EXPECT_EQ(options->repoMode, RepoMode::overlay);
  EXPECT_FALSE(options->repoPath);
  EXPECT_THROW(parseSandboxOptions(call({"--from", "last", "--repo-mode", "ro"})), Error);
  EXPECT_THROW(parseSandboxOptions(call({"--from", ""})), Error);
}

}  // namespace
}  // namespace rauha::cli
