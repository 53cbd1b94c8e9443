#include "frontends/cli/summary.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include "frontends/cli/output.h"

namespace rauha::cli {
namespace {

class Summary : public ::testing::Test {
 protected:
  ~Summary() noexcept override {}  // a message builder's may throw, a fixture's may not
  std::string text() { return summaryOf(result.asReader(), Style(-1)); }
  capnp::MallocMessageBuilder message;
  schema::TaskResult::Builder result = message.initRoot<schema::TaskResult>();
};

TEST_F(Summary, goodEndIsOneLine) {
  result.setDurationMs(1842);
  result.setZoneName("z");
  EXPECT_EQ(text(), "rauha: succeeded in 1.84 s, zone z\n");
}

TEST_F(Summary, weakerLayersAreOneLine) {
  auto posture = result.initPosture();
  auto layers = posture.initLayers(3);
  layers[0].setName("seccomp");
  layers[1].setName("landlock");
  layers[1].setWeaker(true);
  layers[2].setName("enforcer");
  layers[2].setDetail("none");
  layers[2].setWeaker(true);
  posture.initDegraded(1).set(0, "landlock");
  const auto line = [&] {
    const std::string all = text(), begin = "rauha: weaker than the best: ";
    const size_t at = all.find(begin);
    return at == std::string::npos ? std::string() : all.substr(at + begin.size(), all.find('\n', at) - at - begin.size());
  };
  EXPECT_EQ(line(), "landlock (required, waived by --allow-degraded)") << "an enforcer that nobody configured is not told at every run";
  posture.setEnforcer("counter: attached, audit only");
  EXPECT_EQ(line(), "landlock (required, waived by --allow-degraded), enforcer (none)");
  posture.setEnforcer("none");
  posture.initDegraded(1).set(0, "enforcer");
  EXPECT_EQ(line(), "landlock, enforcer (none; required, waived by --allow-degraded)") << "once, not twice";
}

TEST_F(Summary, aRefusalIsToldOnce) {
  auto event = result.initEvents(1)[0];
  event.setName("task.pids_refused");
  event.setMessage("the limit of 20 processes and threads refused 3 forks");
  EXPECT_NE(text().find("rauha: refused: the limit of 20"), std::string::npos) << text();
  result.initNotes(1).set(0, "the limit of 20 processes and threads refused 3 forks; the policy line that allows more: resources.pids = …");
  EXPECT_EQ(text().find("rauha: refused: "), std::string::npos) << text();
  EXPECT_NE(text().find("rauha: warning: the limit of 20 processes and threads refused 3 forks"), std::string::npos) << text();
}

TEST_F(Summary, gapsInTheEvidenceAreTold) {
  auto stats = result.initStdoutStats();
  stats.setBytes(3 << 20);
  stats.setKept(1 << 20);
  stats.setTruncated(true);
  result.initEventCounters().setDropped(7);
  EXPECT_NE(text().find("the result keeps 1MiB of 3MiB of standard output"), std::string::npos) << text();
  EXPECT_NE(text().find("7 events were dropped: the evidence is not complete"), std::string::npos) << text();
}

TEST_F(Summary, manyRefusalsAreCounted) {
  auto events = result.initEnforcementEvents(9);
  for (auto event : events) {
    event.setMessage("no\x1b[1m");
    event.setSeverity(schema::Severity::WARNING);
  }
  EXPECT_NE(text().find("rauha: refused: no\\x1b[1m\n"), std::string::npos) << text();
  EXPECT_NE(text().find("and 4 more"), std::string::npos) << text();
}

TEST_F(Summary, whatAnEnforcerCountedIsNoRefusal) {
  auto event = result.initEnforcementEvents(1)[0];
  event.setName("count.labelled");
  event.setMessage("counted");
  event.setSeverity(schema::Severity::INFO);
  EXPECT_EQ(text().find("counted"), std::string::npos) << text();
}

TEST_F(Summary, changesAndHowToGoOn) {
  result.setTaskId("task_x");
  auto set = result.initChanges();
  EXPECT_NE(text().find("rauha: changes: none\n"), std::string::npos) << text();
  set.setKept(true);
  set.initTotals().setAdded(3);
  set.getTotals().setModified(1);
  set.getTotals().setProtected(2);
  auto change = set.initChanges(1)[0];
  change.setPath(".git/hooks/\x1b");
  change.setProtected("git hook");
  set.initNotes(1).set(0, "the base was copied");
  EXPECT_NE(
      text().find(
          "rauha: changes: 3 added, 1 modified (can run code here: .git/hooks/\\x1b and 1 more) — rauha diff task_x, rauha apply task_x\n"),
      std::string::npos)
      << text();
  EXPECT_NE(text().find("rauha: warning: the base was copied\n"), std::string::npos);
  set.setKept(false);
  set.setKeptNote("too large");
  EXPECT_NE(text().find("not kept: too large"), std::string::npos);
}

TEST_F(Summary, hintsNameThePrivateInstance) {
  result.setTaskId("task_x");
  auto set = result.initChanges();
  set.setKept(true);
  set.initTotals().setAdded(1);
  const auto of = [&](const std::string& root) { return summaryOf(result.asReader(), Style(-1), root); };
  EXPECT_NE(of("/my/root").find(" — rauha diff task_x --root /my/root, rauha apply task_x --root /my/root\n"), std::string::npos);
  EXPECT_NE(of("/my root's").find("rauha diff task_x --root '/my root'\\''s',"), std::string::npos) << of("/my root's");
}

TEST_F(Summary, aFollowUpsTreeChangedSinceItsPredecessor) {
  auto set = result.initChanges();
  set.setHostTree(schema::HostTree::CHANGED);
  EXPECT_NE(text().find("the host's tree changed while the task ran\n"), std::string::npos);
  set.setFrom("task_x");
  EXPECT_NE(text().find("the host's tree changed since the task that it goes on from began\n"), std::string::npos);
}

TEST_F(Summary, aFinishedTaskIsToldInAFewLines) {
  result.setTaskId("task_x");
  auto command = result.initCommand(3);
  command.set(0, "sh");
  command.set(1, "-c");
  command.set(2, "echo \x1b; exit 3");
  result.setImage("host");
  result.setStartedAt("2026-01-31T12:00:00.000Z");
  result.setFinishedAt("2026-01-31T12:00:01.000Z");
  result.setStatus(schema::TaskStatus::FAILED);
  auto code = result.initExitCode();
  code.setValue(3);
  result.setRepoMode(schema::RepoMode::OVERLAY);
  result.initChanges().initBase().setPath("/repo");
  EXPECT_EQ(taskText(result.asReader(), Style(-1), ""),
            "task        task_x\n"
            "command     sh -c 'echo \\x1b; exit 3'\n"
            "image       host\n"
            "started     2026-01-31T12:00:00.000Z\n"
            "finished    2026-01-31T12:00:01.000Z\n"
            "repository  /repo (overlay)\n" +
                text() + "output and evidence: rauha task show task_x --json\n");
}

TEST_F(Summary, errorComesWithItsRemedy) {
  result.setStatus(schema::TaskStatus::RUNTIME_ERROR);
  auto error = result.initError();
  error.setText("no image 'x'");
  error.setHint("import it");
  EXPECT_EQ(text(), "rauha: no image 'x'\n  try: import it\nrauha: not run\n");
  error.setText("rauha sandbox: no image");
  EXPECT_EQ(text(), "rauha sandbox: no image\n  try: import it\nrauha: not run\n");
}

}  // namespace
}  // namespace rauha::cli
