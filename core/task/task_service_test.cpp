#include "core/task/task_service.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <mutex>
#include <shared_mutex>

#include "core/testing/core_fixture.h"

namespace rauha {
namespace {

class TaskServiceTest : public testing::CoreFixture {
 protected:
  ~TaskServiceTest() noexcept override {}
  TaskServiceTest() : tasks_(io_.provider->getTimer(), workers_, workers_, images_, zones_, store_, events_, changes_) {}
  TaskRequest request() {
    TaskRequest r;
    r.id = newId("task");
    r.image = "fake:1";
    r.argv = {"/bin/true"};
    return r;
  }
  schema::TaskResult::Reader run(TaskRequest r) { return finish(tasks_.run(std::move(r))); }
  schema::TaskResult::Reader finish(std::shared_ptr<RunningTask> task) {
    message_ = task->result().wait(io_.waitScope);
    while (tasks_.running() > 0) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
    return message_->getRoot<schema::TaskResult>().asReader();
  }
  // After every task, however it ended.
  void expectClean() {
    expectNothingLeft();
    EXPECT_TRUE(images_.leases().empty());
    EXPECT_TRUE(store_.openTasks().empty());
  }
  void letRun() {
    while (!emitted("task.started")) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  }
  testing::FakeImages images_;
  changes::ChangeStore changes_{directory_, store_, workers_, {}, [](const std::string&) {}};
  TaskService tasks_;
  std::shared_ptr<capnp::MallocMessageBuilder> message_;
};

TEST_F(TaskServiceTest, Succeeds) {
  backend_.script.output = "hello\n";
  const auto result = run(request());
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED);
  EXPECT_EQ(result.getExitCode().getValue(), 0);
  EXPECT_STREQ(result.getStdout().cStr(), "hello\n");
  EXPECT_FALSE(result.hasStdoutBase64());
  EXPECT_FALSE(result.hasError());
  EXPECT_GT(result.getEvents().size(), 2u);
  EXPECT_EQ(result.getPosture().getLayers().size(), 10u);
  expectClean();
}

TEST_F(TaskServiceTest, RefusedForksAndRiskyPoliciesAreTold) {
  backend_.script.pidsRefused = 7;
  auto r = request();
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\npids = 20\n[[devices]]\npath = \"/dev/fuse\"\naccess = \"rw\"\n";
  const auto result = run(std::move(r));
  ASSERT_EQ(result.getNotes().size(), 2u);
  EXPECT_STREQ(result.getNotes()[0].cStr(), "policy 'p': devices /dev/fuse: shared with the host");
  EXPECT_NE(std::string(result.getNotes()[1].cStr()).find("the limit of 20 processes and threads refused 7 forks"), std::string::npos);
  EXPECT_TRUE(emitted("policy.warning"));
  EXPECT_TRUE(emitted("task.pids_refused"));
}

TEST_F(TaskServiceTest, FailsWithItsExitCode) {
  backend_.script.exitCode = 7;
  const auto result = run(request());
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::FAILED);
  EXPECT_EQ(result.getExitCode().getValue(), 7);
  expectClean();
}

TEST_F(TaskServiceTest, KilledBySignalHasNoExitCode) {
  backend_.script.signaled = 11;
  const auto result = run(request());
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::KILLED);
  EXPECT_TRUE(result.getExitCode().isNone());
  EXPECT_EQ(result.getSignal().getValue(), 11);
}

TEST_F(TaskServiceTest, OutOfMemoryIsToldFromOtherKills) {
  backend_.script.signaled = 9;
  backend_.script.outOfMemory = true;
  EXPECT_EQ(run(request()).getStatus(), schema::TaskStatus::OUT_OF_MEMORY);
}

TEST_F(TaskServiceTest, OutputIsBoundedAndExactBytesAreKept) {
  backend_.script.output = std::string("a\xff\0b", 4) + std::string(2000, 'x');
  auto r = request();
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\noutput = \"1KiB\"\n";
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStdoutStats().getBytes(), 2004u);
  EXPECT_EQ(result.getStdoutStats().getKept(), 1024u);
  EXPECT_TRUE(result.getStdoutStats().getTruncated());
  EXPECT_EQ(std::string(result.getStdoutBase64().cStr()).substr(0, 8), "Yf8AYnh4");
  EXPECT_EQ(std::string(result.getStdout().begin(), 6), std::string("a\xEF\xBF\xBD\0b", 6));
}

// Every byte that is not UTF-8 becomes three of text and one and a third of base64: together they must still be one message.
TEST_F(TaskServiceTest, TheLargestOutputThatIsNoTextIsStillOneResult) {
  backend_.script.output = std::string(1 << 20, '\xff');
  const auto result = run(request());
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED);
  EXPECT_EQ(result.getStdoutStats().getKept(), 1u << 20);
  EXPECT_EQ(result.getStdoutBase64().size(), ((1u << 20) + 2) / 3 * 4);
  EXPECT_LE(result.getStdout().size(), (1u << 20) + (64u << 10));
  EXPECT_EQ(result.getStdout().size() % 3, 0u) << "no character is cut";
  ASSERT_EQ(result.getNotes().size(), 1u);
  EXPECT_NE(std::string(result.getNotes()[0].cStr()).find("stdout_base64 has all"), std::string::npos);
  EXPECT_LT(result.totalSize().wordCount * 8, 4u << 20);
}

// Whatever makes it so large: a result that no message can carry becomes one that says what it left out.
TEST_F(TaskServiceTest, AResultThatWouldBeTooLargeIsShortened) {
  tasks_.setResultLimit(512u << 10);
  backend_.script.output = std::string(1 << 20, 'x');
  backend_.script.exitCode = 7;
  const auto result = run(request());
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::FAILED);
  EXPECT_EQ(result.getExitCode().getValue(), 7);
  EXPECT_EQ(result.getStdout().size(), 0u);
  EXPECT_EQ(result.getStdoutStats().getBytes(), 1u << 20);
  EXPECT_EQ(result.getStdoutStats().getKept(), 0u);
  EXPECT_TRUE(result.getStdoutStats().getTruncated());
  EXPECT_FALSE(result.getStderrStats().getTruncated());
  EXPECT_TRUE(result.hasPosture());
  EXPECT_EQ(result.getEventCounters().getDropped(), result.getEventCounters().getEmitted()) << "what is not in it is counted";
  ASSERT_EQ(result.getNotes().size(), 1u);
  EXPECT_NE(std::string(result.getNotes()[0].cStr()).find("too large"), std::string::npos);
}

class KeptOverlay : public TaskServiceTest {
 protected:
  ~KeptOverlay() noexcept override {}
  schema::TaskResult::Reader runKept() {
    for (const char* name : {"/repo", "/layer"}) std::filesystem::create_directory(directory_ + name);
    writeAll(UniqueFd(open((directory_ + "/layer/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)).get(), "x", "new");
    backend_.script.layer = directory_ + "/layer";
    auto r = request();
    r.keepZone = true;
    r.repoMode = schema::RepoMode::OVERLAY;
    r.repoPath = directory_ + "/repo";
    r.repo = UniqueFd(open(r.repoPath.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto result = run(std::move(r));
    const std::string id = result.getZoneId().cStr();
    wait(zones_.destroy(id));
    wait(tasks_.releaseImage(id));
    return result;
  }
};

TEST_F(KeptOverlay, StandsStillWhileItsChangesAreCollected) {
  const auto result = runKept();
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED) << result.getError().getText().cStr();
  EXPECT_EQ(backend_.script.freezes, (std::vector<bool>{true, false}));
  EXPECT_EQ(result.getChanges().getTotals().getAdded(), 1u) << result.getChanges().getKeptNote().cStr();
}

TEST_F(KeptOverlay, WhatCannotBeFrozenIsNotCollectedAndGoesOn) {
  backend_.script.freezeFails = true;
  const auto result = runKept();
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED) << result.getError().getText().cStr();
  EXPECT_EQ(backend_.script.freezes, (std::vector<bool>{true, false}));
  EXPECT_TRUE(result.getChanges().getTruncated());
  EXPECT_NE(std::string(result.getChanges().getKeptNote().cStr()).find("could not be frozen"), std::string::npos);
}

TEST_F(TaskServiceTest, TheHistoryIsBoundedByEveryTask) {
  tasks_.setHistory(2);
  std::string first;
  for (int i = 0; i < 4; ++i) {
    auto r = request();
    if (i == 0) first = r.id;
    run(std::move(r));
  }
  io_.waitScope.poll();  // not before the answer, but soon
  EXPECT_EQ(store_.tasks(100).size(), 2u);
  EXPECT_FALSE(store_.task(first));
}

TEST_F(TaskServiceTest, ALongHistoryMayHaveASixteenthMore) {
  tasks_.setHistory(32);
  for (int i = 0; i < 40; ++i) {
    run(request());
    io_.waitScope.poll();
    EXPECT_LE(store_.tasks(100).size(), 34u);
  }
  EXPECT_GE(store_.tasks(100).size(), 32u);
}

// What remains of a zone after its processes goes behind the answer.
class BehindTheAnswer : public TaskServiceTest {
 protected:
  ~BehindTheAnswer() noexcept override {}
  BehindTheAnswer() { gate_.lock(); }
  std::shared_ptr<RunningTask> start(const std::string& name = {}) {
    auto r = request();
    r.zoneName = name;
    return tasks_.run(std::move(r));
  }
  schema::TaskStatus answerOf(RunningTask& task) {
    message_ = task.result().wait(io_.waitScope);
    return message_->getRoot<schema::TaskResult>().getStatus();
  }
  // Whether it has answered by now, after everything that can happen without the gate has.
  bool answers(RunningTask& task) {
    bool out = false;
    auto noted = task.result().then([&out](auto&&) { out = true; }).eagerlyEvaluate(nullptr);
    for (int i = 0; i < 50 && !out; ++i) io_.provider->getTimer().afterDelay(2 * kj::MILLISECONDS).wait(io_.waitScope);
    return out;
  }
  void openGate() {
    gate_.unlock();
    while (tasks_.running() > 0) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  }
  std::unique_lock<std::shared_timed_mutex> gate_{backend_.destroyGate, std::defer_lock};
};

TEST_F(BehindTheAnswer, TheZoneGoesAndNobodySeesItAnyMore) {
  const auto task = start("web");
  EXPECT_EQ(answerOf(*task), schema::TaskStatus::SUCCEEDED);
  EXPECT_EQ(backend_.zones().size(), 1u) << "the control: it is still there";
  EXPECT_EQ(tasks_.running(), 1u) << "who stops the daemon waits for it";
  EXPECT_EQ(tasks_.unfinished(), 0u) << "and is not refused over it";
  EXPECT_TRUE(zones_.busy());
  EXPECT_TRUE(zones_.list().empty());
  EXPECT_ANY_THROW(zones_.find("web"));
  EXPECT_TRUE(images_.leases().empty());
  EXPECT_FALSE(emitted("zone.deleted"));
  openGate();
  EXPECT_TRUE(emitted("zone.deleted"));
  expectClean();
}

TEST_F(BehindTheAnswer, ItsNameCanBeHadAgainAtOnce) {
  EXPECT_EQ(answerOf(*start("web")), schema::TaskStatus::SUCCEEDED);
  const auto second = start("web");
  EXPECT_FALSE(answers(*second));
  openGate();
  EXPECT_EQ(answerOf(*second), schema::TaskStatus::SUCCEEDED);
  expectClean();
}

TEST_F(BehindTheAnswer, WhatItHoldsIsWaitedForWhenThereIsNoMore) {
  backend_.room = 1;
  EXPECT_EQ(answerOf(*start()), schema::TaskStatus::SUCCEEDED);
  const auto second = start();
  EXPECT_FALSE(answers(*second));
  openGate();
  EXPECT_EQ(answerOf(*second), schema::TaskStatus::SUCCEEDED);
  expectClean();
}

TEST_F(BehindTheAnswer, NoMoreThanEightGoSo) {
  std::vector<std::shared_ptr<RunningTask>> tasks;
  for (int i = 0; i < 8; ++i) {
    tasks.push_back(start());
    EXPECT_EQ(answerOf(*tasks.back()), schema::TaskStatus::SUCCEEDED);
  }
  EXPECT_EQ(backend_.zones().size(), 8u) << "the control: none is gone";
  const auto ninth = start();
  EXPECT_FALSE(answers(*ninth));
  openGate();
  EXPECT_EQ(answerOf(*ninth), schema::TaskStatus::SUCCEEDED);
  expectClean();
}

TEST_F(BehindTheAnswer, WhatFailsIsSeenAgainAndTriedAgain) {
  backend_.fail = {"destroyZone"};
  gate_.unlock();
  EXPECT_EQ(answerOf(*start("web")), schema::TaskStatus::SUCCEEDED);
  while (tasks_.running() > 0) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  EXPECT_TRUE(emitted("zone.failed"));
  EXPECT_EQ(zones_.find("web")->state, ZoneState::failed);
  backend_.fail = {};
  while (!zones_.list().empty()) io_.provider->getTimer().afterDelay(10 * kj::MILLISECONDS).wait(io_.waitScope);
  expectClean();
}

// A shim that is stopped once its task has ended: nobody knows what its zone does, so the answer waits for the end from outside.
TEST_F(BehindTheAnswer, OnlyWhenItsProcessesAreKnownToHaveEnded) {
  backend_.script.shutdownHangs = true;
  const auto task = start();
  EXPECT_FALSE(answers(*task));
  openGate();
  EXPECT_EQ(answerOf(*task), schema::TaskStatus::SUCCEEDED);
  EXPECT_TRUE(emitted("zone.deleted"));
  expectClean();
}

TEST_F(TaskServiceTest, TimesOutAndIsKilledWhenItIgnoresSignals) {
  backend_.script.runsForEver = backend_.script.ignoresSignals = true;
  auto r = request();
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\nstop_grace = \"20ms\"\n";
  r.timeoutMs = 30;
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::TIMED_OUT);
  EXPECT_TRUE(result.getExitCode().isNone());
  EXPECT_TRUE(emitted("task.timed_out"));
  expectClean();
}

TEST_F(TaskServiceTest, Cancelled) {
  backend_.script.runsForEver = true;
  auto task = tasks_.run(request());
  letRun();
  task->cancel(2);
  const auto result = finish(task);
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::CANCELLED);
  EXPECT_EQ(result.getSignal().getValue(), 2);
  expectClean();
}

TEST_F(TaskServiceTest, TimeoutBeyondThePolicysIsCutAndSaid) {
  auto r = request();
  r.timeoutMs = 3'600'000;
  const auto result = run(std::move(r));
  std::string told;
  for (const auto event : result.getEvents())
    if (event.getName() == "policy.timeout_cut") told = event.getMessage().cStr();
  EXPECT_NE(told.find("--timeout 1h was cut to 10m, the most that policy 'task' allows"), std::string::npos) << told;
  ASSERT_EQ(result.getNotes().size(), 1u);
  EXPECT_NE(std::string(result.getNotes()[0].cStr()).find("resources.timeout = \"1h\""), std::string::npos);
  auto within = request();
  within.timeoutMs = 1000;
  for (const auto event : run(std::move(within)).getEvents()) EXPECT_NE(event.getName(), "policy.timeout_cut");
}

TEST_F(TaskServiceTest, ARunWithoutAProcessHasNoPosture) {
  backend_.script.createError = "no root";
  EXPECT_FALSE(run(request()).hasPosture());
  backend_.script.createError.clear();
  EXPECT_TRUE(run(request()).hasPosture());
}

// The grace is the command's. With its death the zone ends, however long the grace is and whoever still holds the output.
TEST_F(TaskServiceTest, CancelDoesNotWaitForWhatTheCommandLeft) {
  backend_.script.runsForEver = backend_.script.leavesChild = true;
  auto r = request();
  r.policyToml = "name = \"patient\"\ntype = \"task\"\n[resources]\nstop_grace = \"60m\"\n";
  auto task = tasks_.run(std::move(r));
  letRun();
  task->cancel(2);
  EXPECT_EQ(finish(task).getStatus(), schema::TaskStatus::CANCELLED);
  expectClean();
}

TEST_F(TaskServiceTest, CancelledBeforeItRan) {
  auto task = tasks_.run(request());
  task->cancel(15);
  EXPECT_EQ(finish(task).getStatus(), schema::TaskStatus::CANCELLED);
  expectClean();
}

TEST_F(TaskServiceTest, LostShimIsARuntimeError) {
  backend_.script.runsForEver = true;
  auto task = tasks_.run(request());
  letRun();
  backend_.loseShim(*backend_.zones().begin());
  const auto result = finish(task);
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::RUNTIME_ERROR);
  EXPECT_NE(std::string(result.getError().getText().cStr()).find("shim"), std::string::npos);
  expectClean();
}

// A stopped shim says nothing. The zone is ended without it, soon, also one that was to be kept.
class HungShim : public TaskServiceTest, public ::testing::WithParamInterface<int> {
 protected:
  ~HungShim() noexcept override {}
};

TEST_P(HungShim, DoesNotHoldUpTheEnd) {
  backend_.script.runsForEver = true;
  auto r = request();
  r.keepZone = true;
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\nstop_grace = \"1h\"\n";
  auto task = tasks_.run(std::move(r));
  letRun();
  backend_.script.hangs = true;
  task->cancel(GetParam());
  const auto result = finish(task);
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::CANCELLED);
  EXPECT_FALSE(result.getZoneKept());
  EXPECT_TRUE(emitted("zone.failed"));
  expectClean();
}
INSTANTIATE_TEST_SUITE_P(Signals, HungShim, ::testing::Values(0, 15));

TEST_F(TaskServiceTest, HungShimDoesNotHoldUpACancelledStart) {
  backend_.script.hangs = true;
  auto task = tasks_.run(request());
  while (!emitted("zone.created")) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  task->cancel(15);
  EXPECT_EQ(finish(task).getStatus(), schema::TaskStatus::CANCELLED);
  expectClean();
}

// Each step fails once: everything before it is undone, and the error is the step's.
TEST_F(TaskServiceTest, EveryFailureCleansUp) {
  struct Case {
    const char* what;
    std::function<void()> arrange;
    const char* expected;
  };
  auto& script = backend_.script;
  const Case cases[] = {
      {"boundary", [&] { backend_.fail = {"createZone"}; }, "createZone fails as told"},
      {"image", [&] { images_.error = "no such image"; }, "no such image"},
      {"container", [&] { script.createError = "layer is broken"; }, "layer is broken"},
      {"exec", [&] { script.startError = "command not found: x"; }, "command not found: x"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    backend_.fail = {};
    images_.error.clear();
    script = {};
    c.arrange();
    const auto result = run(request());
    EXPECT_EQ(result.getStatus(), schema::TaskStatus::RUNTIME_ERROR);
    EXPECT_TRUE(result.getExitCode().isNone());
    EXPECT_STREQ(result.getError().getText().cStr(), c.expected);
    expectClean();
  }
}

TEST_F(TaskServiceTest, RequiredLayerThatTheAgentDidNotArmRefusesTheRun) {
  backend_.script.seccomp = false;
  backend_.script.output = "must not run";
  auto r = request();
  r.policyToml = "name = \"p\"\ntype = \"task\"\nrequire = [\"seccomp\"]\n";
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::RUNTIME_ERROR);
  EXPECT_EQ(result.getStdout().size(), 0u);
  EXPECT_NE(std::string(result.getError().getText().cStr()).find("'seccomp'"), std::string::npos);
  expectClean();
}

TEST_F(TaskServiceTest, KeptZoneStaysWithItsLease) {
  auto r = request();
  r.keepZone = true;
  r.zoneName = "kept";
  const auto result = run(std::move(r));
  EXPECT_TRUE(result.getZoneKept());
  EXPECT_EQ(zones_.find("kept")->state, ZoneState::ready);
  EXPECT_EQ(images_.leases().size(), 1u);
  const std::string id = zones_.find("kept")->id;
  wait(zones_.destroy(id));
  wait(tasks_.releaseImage(id));
  expectClean();
}

TEST_F(TaskServiceTest, KeptZoneMayGoWhileItsTaskIsEnding) {
  backend_.script.runsForEver = backend_.script.ignoresSignals = true;
  auto r = request();
  r.keepZone = true;
  r.zoneName = "kept";
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\nstop_grace = \"1m\"\n";
  auto task = tasks_.run(std::move(r));
  letRun();
  task->cancel(15);  // the minute of grace begins
  const std::string id = zones_.find("kept")->id;
  wait(zones_.destroy(id));  // by another client, with force
  const auto result = finish(task);
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::CANCELLED);
  EXPECT_FALSE(result.getZoneKept());
  wait(tasks_.releaseImage(id));
  expectClean();
}

TEST_F(TaskServiceTest, OverlayAndMissingCommandAreRefused) {
  auto r = request();
  r.repoMode = schema::RepoMode::OVERLAY;
  EXPECT_STREQ(run(std::move(r)).getError().getClass().cStr(), "repository");
  r = request();
  r.argv.clear();
  EXPECT_STREQ(run(std::move(r)).getError().getClass().cStr(), "usage");
  expectClean();
}

TEST_F(TaskServiceTest, WithoutACommandTheImagesOwnRuns) {
  images_.configJson = R"({"config":{"Entrypoint":["/entry","-x"],"Cmd":["word"]}})";
  auto r = request();
  r.argv.clear();
  auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED);
  ASSERT_EQ(result.getCommand().size(), 3u);
  EXPECT_STREQ(result.getCommand()[0].cStr(), "/entry");
  EXPECT_STREQ(result.getCommand()[2].cStr(), "word");
  EXPECT_NE(store_.task(result.getTaskId().cStr())->requestSummary.find("\"/entry\",\"-x\",\"word\""), std::string::npos);
  // A command replaces both.
  result = run(request());
  ASSERT_EQ(result.getCommand().size(), 1u);
  EXPECT_STREQ(result.getCommand()[0].cStr(), "/bin/true");
  expectClean();
}

TEST_F(TaskServiceTest, TheImagesStopSignalComesBeforeTheKill) {
  backend_.script.runsForEver = true;
  images_.configJson = R"({"config":{"StopSignal":"SIGQUIT"}})";
  auto r = request();
  r.timeoutMs = 50;
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[resources]\nstop_grace = \"1m\"\n";
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::TIMED_OUT);
  EXPECT_EQ(backend_.script.signals, (std::vector<int>{3}));
  expectClean();
}

TEST_F(TaskServiceTest, WhatTheImageWantsAndCannotHaveIsNoted) {
  images_.configJson = R"({"config":{"StopSignal":"SIGNOPE","Volumes":{"/data":{}}}})";
  auto r = request();
  r.policyToml = "name = \"p\"\ntype = \"task\"\n[filesystem]\nread_only_root = true\n";
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::SUCCEEDED);
  std::string notes;
  for (const auto note : result.getNotes()) notes += std::string(note.cStr()) + "\n";
  EXPECT_NE(notes.find("its stop signal 'SIGNOPE' is none"), std::string::npos) << notes;
  EXPECT_NE(notes.find("its volume '/data'"), std::string::npos) << notes;
  EXPECT_NE(notes.find("filesystem.read_only_root = false"), std::string::npos) << notes;
  expectClean();
}

TEST_F(TaskServiceTest, RequestThatCouldNotBeTakenIsARefusedTask) {
  auto r = request();
  r.refusal = Error("usage", Code::invalid, "the command holds a NUL byte");
  const auto result = run(std::move(r));
  EXPECT_EQ(result.getStatus(), schema::TaskStatus::RUNTIME_ERROR);
  EXPECT_STREQ(result.getError().getText().cStr(), "the command holds a NUL byte");
  EXPECT_TRUE(backend_.specs().empty());
  expectClean();
}

TEST_F(TaskServiceTest, ReconcileClosesOpenRecords) {
  store::TaskRow row;
  row.id = newId("task");
  row.zoneId = newId("zone");
  row.state = "running";
  row.createdNs = 1;
  store_.insertTask(row);
  EXPECT_EQ(tasks_.reconcile(), 1u);
  EXPECT_TRUE(store_.openTasks().empty());
  EXPECT_EQ(store_.task(row.id)->status, "runtime_error");
  EXPECT_TRUE(emitted("reconcile.task_closed"));
}

}  // namespace
}  // namespace rauha
