#include "plugins/agent/exec.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "plugins/agent/report.h"
#include "plugins/agent/root_dir.h"

namespace rauha::agent {
namespace {

std::vector<std::string> candidates(const std::string& command, std::vector<std::string> env) {
  ProcessPlan p;
  p.argv = {command};
  p.env = std::move(env);
  return planExec(p).candidates;
}

TEST(Exec, LooksUpInTheProcessesOwnPath) {
  using V = std::vector<std::string>;
  EXPECT_EQ(candidates("x", {"PATH=/a:/b"}), (V{"/a/x", "/b/x"}));
  EXPECT_EQ(candidates("x", {"PATH=/a::/b:"}), (V{"/a/x", "./x", "/b/x", "./x"}));
  EXPECT_EQ(candidates("x", {"PATH="}), (V{"./x"}));
  EXPECT_EQ(candidates("./x", {"PATH=/a"}), (V{"./x"}));
  EXPECT_EQ(candidates("x", {"APATH=/a"}).size(), 6u);
}

TEST(Exec, FailuresHaveTheCodesOfAShell) {
  ExecPlan plan;
  plan.command = "no-such-thing";
  plan.candidates = {"/a/no-such-thing", "/b/no-such-thing"};
  EXPECT_EQ(execFailure(plan, ENOENT).code(), Code::notFound);
  EXPECT_EQ(execFailure(plan, EACCES).code(), Code::denied);
  EXPECT_EQ(execFailure(plan, ENOEXEC).code(), Code::denied);
  EXPECT_EQ(execFailure(plan, ENOENT).errorClass(), "command");
}

TEST(Report, ArrivesAsItWasSent) {
  Ready ready;
  ready.armed.userNamespace = true;
  ready.armed.seccompRules = 77;
  ready.armed.capabilities = 1ull << 40;
  ready.armed.notes = {"a note", ""};
  ready.hostUid = 4000000000;
  ready.stages = {{"root", 5}, {"pivot", 6}};
  const Ready back = decodeReport(encodeReady(ready));
  EXPECT_EQ(back.armed.notes, ready.armed.notes);
  EXPECT_EQ(back.armed.capabilities, ready.armed.capabilities);
  EXPECT_EQ(back.armed.seccompRules, 77u);
  EXPECT_TRUE(back.armed.userNamespace);
  EXPECT_FALSE(back.armed.seccomp);
  EXPECT_EQ(back.hostUid, 4000000000u);
  EXPECT_EQ(back.stages, ready.stages);
}

TEST(Report, CarriesAnError) {
  try {
    decodeReport(encodeError(Error("image", Code::corrupt, "layer x", "pull again", "x")));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.errorClass(), "image");
    EXPECT_EQ(e.code(), Code::corrupt);
    EXPECT_EQ(e.text(), "layer x");
    EXPECT_EQ(e.hint(), "pull again");
    EXPECT_EQ(e.object(), "x");
  }
}

TEST(Report, RefusesEveryTruncation) {
  Ready ready;
  ready.armed.notes = {"note"};
  ready.stages = {{"root", 5}};
  const std::string whole = encodeReady(ready);
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_THROW(decodeReport(whole.substr(0, n)), Error) << n;
  std::string lie = whole;
  lie[1 + 8 * 8] = '\xff';  // the number of notes
  EXPECT_THROW(decodeReport(lie), Error);
  EXPECT_THROW(decodeReport("X"), Error);
}

TEST(RootDir, PathsAreSplitAndClimbingIsRefused) {
  EXPECT_EQ(splitPath("/a//b/./c/"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(splitPath("/").empty());
  EXPECT_THROW(splitPath("/a/../b"), Error);
}

}  // namespace
}  // namespace rauha::agent
