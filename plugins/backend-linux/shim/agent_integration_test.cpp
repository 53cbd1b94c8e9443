// Processes of a zone, with a real kernel: output, input, exits, users, further processes. Needs root.
#include <signal.h>

#include "plugins/backend-linux/shim/testing/agent_fixture.h"

namespace rauha::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AgentProcess : public AgentTest {};

TEST_F(AgentProcess, RunsAndReportsOutputAndCode) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("echo hello; echo bad >&2; exit 7"));
  EXPECT_EQ(r.out, "hello\n") << say(r);
  EXPECT_EQ(r.err, "bad\n");
  EXPECT_EQ(r.exited, 7);
  EXPECT_TRUE(r.seccomp);
  EXPECT_TRUE(r.noNewPrivs);
  EXPECT_FALSE(r.outOfMemory);
}

TEST_F(AgentProcess, SignalEndsAreTold) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("kill -KILL $$"));
  EXPECT_EQ(r.signaled, SIGKILL) << say(r);
}

TEST_F(AgentProcess, SigtermEndsAProcessWithoutHandler) {
  // A task that were process 1 of its namespace would ignore it.
  TestZone zone(io_);
  Live live = zone.create(sh("echo up; sleep 60"));
  ASSERT_FALSE(live.error);
  ASSERT_FALSE(zone.start(live));
  auto signal = live.process.signalRequest();
  signal.setNumber(SIGTERM);
  zone.await<void>(signal.send().ignoreResult());
  EXPECT_EQ(zone.wait(live).signaled, SIGTERM);
}

TEST_F(AgentProcess, MissingCommandIsNotFound) {
  TestZone zone(io_);
  Job job;
  job.argv = {"no-such-command"};
  const Ran r = zone.run(job);
  ASSERT_TRUE(r.error);
  EXPECT_EQ(r.error->errorClass(), "command");
  EXPECT_EQ(r.error->code(), Code::notFound);
  EXPECT_THAT(r.error->text(), HasSubstr("no-such-command: command not found"));
}

TEST_F(AgentProcess, WhatCannotBeExecutedIsDenied) {
  TestZone zone(io_);
  TempTree top;
  top.write("bin/data", "no program\n", 0755);
  top.write("bin/plain", "#!/bin/sh\n", 0644);
  top.write("bin/lost", "#!/bin/no-such-shell\n", 0755);
  const auto code = [&](const std::string& command) {
    Job job;
    job.argv = {command};
    job.layers = {busyboxLayer(), top.path()};
    const Ran r = zone.run(job);
    return r.error ? r.error->code() : Code::none;
  };
  EXPECT_EQ(code("/bin/data"), Code::denied);
  EXPECT_EQ(code("/bin/plain"), Code::denied);
  EXPECT_EQ(code("plain"), Code::denied);
  EXPECT_EQ(code("/bin"), Code::denied);
  EXPECT_EQ(code("/bin/lost"), Code::notFound);
}

TEST_F(AgentProcess, InputArrivesAndEnds) {
  TestZone zone(io_);
  Job job = sh("wc -c");
  job.input = std::string(300000, 'x');
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "300000\n") << say(r);
}

TEST_F(AgentProcess, InputThatNobodyReadsIsDropped) {
  TestZone zone(io_);
  Job job = sh("head -c 5");
  job.input = std::string(1 << 20, 'y');
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "yyyyy") << r.exited;
  EXPECT_EQ(r.exited, 0);
}

TEST_F(AgentProcess, WithoutInputItIsTheZonesNull) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("cat; readlink /proc/self/fd/0; stat -c %t:%T /dev/null"));
  EXPECT_EQ(r.out, "/dev/null\n1:3\n") << say(r);
}

TEST_F(AgentProcess, LargeOutputIsWhole) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("yes 0123456789 | head -c 8000000"));
  EXPECT_EQ(r.out.size(), 8000000u) << r.err;
}

TEST_F(AgentProcess, OutputBeforeAttachIsKeptUpToABound) {
  TestZone zone(io_);
  Live live = zone.create(sh("yes 0123456789 | head -c 8000000; echo end >&2"), false);
  ASSERT_FALSE(live.error);
  ASSERT_FALSE(zone.start(live));
  zone.wait(live);  // must not hang on the full pipe
  auto attach = live.process.attachRequest();
  bool ended = false;
  attach.setStdout(kj::heap<Sink>(*live.out, &ended));
  attach.setStderr(kj::heap<Sink>(*live.err));
  zone.await<void>(attach.send().ignoreResult());
  while (!ended) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
  EXPECT_EQ(live.out->size(), 256u * 1024);
  EXPECT_EQ(live.out->substr(0, 11), "0123456789\n");
  EXPECT_EQ(*live.err, "end\n");
}

class BrokenSink final : public schema::ByteSink::Server {
 public:
  kj::Promise<void> write(WriteContext) override { return KJ_EXCEPTION(DISCONNECTED, "the watcher is gone"); }
};

TEST_F(AgentProcess, ABrokenWatcherDoesNotStopTheTask) {
  TestZone zone(io_);
  Live live = zone.create(sh("yes 0123456789 | head -c 8000000; echo done > /tmp/x; exit 3"), false);
  ASSERT_FALSE(live.error);
  auto attach = live.process.attachRequest();
  attach.setStdout(kj::heap<BrokenSink>());
  attach.setStderr(kj::heap<BrokenSink>());
  zone.await<void>(attach.send().ignoreResult());
  ASSERT_FALSE(zone.start(live));
  EXPECT_EQ(zone.wait(live).exited, 3);
}

TEST_F(AgentProcess, ADescendantThatHoldsThePipeIsNotWaitedFor) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("sleep 100 & echo started"));
  EXPECT_EQ(r.out, "started\n") << say(r);
  EXPECT_EQ(r.exited, 0);
  EXPECT_FALSE(zone.groups().empty());  // it is still there; the zone's end ends it
}

TEST_F(AgentProcess, ADescendantThatFloodsIsNotWaitedFor) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("yes & exit 4"));
  EXPECT_EQ(r.exited, 4);
}

TEST_F(AgentProcess, TwoWaitersGetTheSameAnswer) {
  TestZone zone(io_);
  Live live = zone.create(sh("exit 9"));
  ASSERT_FALSE(zone.start(live));
  auto first = live.process.waitRequest().send(), second = live.process.waitRequest().send();
  EXPECT_EQ(zone.await(first.then([](auto&& r) { return r.getExit().getExited(); })), 9);
  EXPECT_EQ(zone.await(second.then([](auto&& r) { return r.getExit().getExited(); })), 9);
}

TEST_F(AgentProcess, TerminalIsTheZonesOwn) {
  TestZone zone(io_);
  Job job = sh("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; stat -c '%u %g' $(tty); echo x > /dev/tty");
  job.terminal = true;
  job.user = "alice";
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "/dev/pts/0\r\n40 120\r\nall\r\n1000 5\r\nx\r\n") << say(r);
}

TEST_F(AgentProcess, TerminalInputEnds) {
  TestZone zone(io_);
  Job job = sh("stty -echo; cat | wc -c");
  job.terminal = true;
  job.input = "hello\n";
  const Ran r = zone.run(job);
  EXPECT_THAT(r.out, HasSubstr("6\r\n")) << say(r);
}

TEST_F(AgentProcess, TerminalIsResized) {
  TestZone zone(io_);
  Job job = sh("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done");
  job.terminal = true;
  Live live = zone.create(job);
  ASSERT_FALSE(live.error) << live.error->text();
  ASSERT_FALSE(zone.start(live));
  while (live.out->find("ready") == std::string::npos) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
  auto resize = live.process.resizeRequest();
  resize.setRows(50);
  resize.setColumns(99);
  zone.await<void>(resize.send().ignoreResult());
  EXPECT_THAT(zone.wait(live).out, HasSubstr("50 99"));
}

TEST_F(AgentProcess, EnvironmentIsExactlyWhatWasGiven) {
  TestZone zone(io_);
  Job job = sh("env | sort");
  job.env = {"PATH=/bin", "A=1 2"};
  EXPECT_EQ(zone.run(job).out, "A=1 2\nPATH=/bin\nPWD=/\nSHLVL=1\n");
}

TEST_F(AgentProcess, WorkdirIsMadeUnlessRequired) {
  TestZone zone(io_);
  Job job = sh("pwd; touch here && echo writable; stat -c %u .");
  job.workdir = "/deep/down";
  job.user = "alice";
  EXPECT_EQ(zone.run(job).out, "/deep/down\nwritable\n1000\n");
  job.workdirRequired = true;
  job.workdir = "/not/there";
  const Ran r = zone.run(job);
  ASSERT_TRUE(r.error);
  EXPECT_EQ(r.error->errorClass(), "zone");
  EXPECT_EQ(r.error->code(), Code::notFound);
  EXPECT_THAT(r.error->text(), HasSubstr("working directory /not/there"));
}

TEST_F(AgentProcess, UsersAreResolvedInTheImage) {
  TestZone zone(io_);
  const auto id = [&](const std::string& user) {
    Job job = sh("echo $(id -u) $(id -g) $(id -G)");
    job.user = user;
    const Ran r = zone.run(job);
    return r.error ? "error " + std::string(codeName(r.error->code())) : r.out;
  };
  EXPECT_EQ(id(""), "0 0 0\n");
  EXPECT_EQ(id("alice"), "1000 1000 1000 10 998\n");
  EXPECT_EQ(id("1000"), "1000 1000 1000 10 998\n");
  EXPECT_EQ(id("alice:wheel"), "1000 10 10\n");
  EXPECT_EQ(id("4711"), "4711 0 0\n");
  EXPECT_EQ(id("4711:33"), "4711 33 33\n");
  EXPECT_EQ(id("nobody-here"), "error not_found");
  EXPECT_EQ(id("70000"), "error invalid");
}

TEST_F(AgentProcess, ProcessesOfTheZoneAreItsOwnIdsOnTheHost) {
  TestZone zone(io_);
  Job job = sh("sleep 60");
  job.user = "alice";
  Live live = zone.create(job);
  ASSERT_FALSE(zone.start(live));
  const std::string status = readFile("/proc/" + std::to_string(live.pid) + "/status");
  const std::string id = std::to_string(zone.hostIdBase() + 1000);
  EXPECT_THAT(status, HasSubstr("\nUid:\t" + id + "\t" + id + "\t" + id + "\t" + id + "\n"));
  EXPECT_THAT(status, HasSubstr("\nNoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr("\nSeccomp:\t2\n"));
  // Not root, and the policy grants capabilities: they are ambient.
  EXPECT_THAT(status, HasSubstr("\nCapEff:\t00000000000405fb\n"));
  EXPECT_THAT(status, HasSubstr("\nCapAmb:\t00000000000405fb\n"));
}

TEST_F(AgentProcess, CapabilitiesAreThePolicysAndNothingElse) {
  ZoneOptions options;
  options.capabilities = {0, 7};
  TestZone zone(io_, options);
  const Ran root = zone.run(sh("grep Cap /proc/self/status"));
  EXPECT_EQ(
      root.out,
      "CapInh:\t0000000000000081\nCapPrm:\t0000000000000081\nCapEff:\t0000000000000081\nCapBnd:\t0000000000000081\nCapAmb:\t0000000000000000\n");
  EXPECT_EQ(root.capabilities, (std::vector<std::string>{"chown", "setuid"}));
  options.capabilities = {};
  TestZone none(io_, options);
  const Ran r = none.run(sh("grep CapBnd /proc/self/status; chown 1:1 /tmp 2>&1 || echo refused"));
  EXPECT_THAT(r.out, HasSubstr("CapBnd:\t0000000000000000\n"));
  EXPECT_THAT(r.out, HasSubstr("refused"));
}

TEST_F(AgentProcess, SignalsAndMaskAreFresh) {
  TestZone zone(io_);
  Job job;
  job.argv = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(AgentProcess, OnlyStdioIsOpen) {
  // A canary that the harness leaves open without O_CLOEXEC.
  const int canary = ::dup(0);
  TestZone zone(io_);
  ::close(canary);
  Job job;
  job.argv = {"ls", "/proc/self/fd"};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "0\n1\n2\n3\n") << "3 is ls's own directory; " << say(r);
}

TEST_F(AgentProcess, StdoutCanBeOpenedByName) {
  TestZone zone(io_);
  Job job = sh("echo a > /dev/stdout; echo b > /proc/self/fd/2; echo c > /dev/stderr");
  job.user = "alice";
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "a\n") << say(r);
  EXPECT_EQ(r.err, "b\nc\n");
}

TEST_F(AgentProcess, OpenFilesAreLimited) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("ulimit -n; ulimit -Hn; ulimit -c"));
  EXPECT_EQ(r.out, "256\n256\n0\n");
}

TEST_F(AgentProcess, FurtherProcessesShareTheContainer) {
  TestZone zone(io_);
  Live main = zone.create(sh("echo one > /shared; echo up; sleep 60"));
  ASSERT_FALSE(zone.start(main));
  while (main.out->find("up") == std::string::npos) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
  Job job = sh("cat /shared; id -u; hostname; grep -E 'Seccomp:|NoNewPrivs|CapBnd' /proc/self/status");
  job.user = "alice";
  Live further = zone.exec(job);
  ASSERT_FALSE(further.error) << further.error->text();
  ASSERT_FALSE(zone.start(further));
  const Ran r = zone.wait(further);
  EXPECT_THAT(r.out, HasSubstr("one\n1000\nbox\n")) << say(r);
  EXPECT_THAT(r.out, HasSubstr("Seccomp:\t2"));
  EXPECT_THAT(r.out, HasSubstr("NoNewPrivs:\t1"));
  Live missing = zone.exec([] {
    Job m;
    m.argv = {"nothing"};
    return m;
  }());
  ASSERT_FALSE(missing.error);
  const auto error = zone.start(missing);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), Code::notFound);
}

TEST_F(AgentProcess, FurtherProcessesMaySignalTheFirst) {
  TestZone zone(io_);
  Live main = zone.create(sh("trap 'exit 5' USR1; echo up; while :; do sleep 0.1; done"));
  ASSERT_FALSE(zone.start(main));
  while (main.out->find("up") == std::string::npos) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
  Live further = zone.exec(sh("kill -USR1 2"));
  ASSERT_FALSE(zone.start(further));
  const Ran r = zone.wait(further);
  EXPECT_EQ(r.exited, 0) << say(r);
  EXPECT_EQ(zone.wait(main).exited, 5);
}

TEST_F(AgentProcess, NothingJoinsAContainerThatEnded) {
  TestZone zone(io_);
  zone.run(sh("true"));
  Live further = zone.exec(sh("true"));
  ASSERT_TRUE(further.error);
  EXPECT_EQ(further.error->code(), Code::conflict);
}

TEST_F(AgentProcess, TwoContainersOfAZoneShareProcessesAndNotFiles) {
  TestZone zone(io_);
  Live first = zone.create(sh("echo mine > /only-here; echo up; sleep 60"));
  ASSERT_FALSE(zone.start(first));
  while (first.out->find("up") == std::string::npos) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
  const Ran r = zone.run(sh("ls /only-here 2>&1; ps | grep -c 'sleep 60'"));
  EXPECT_THAT(r.out, HasSubstr("No such file"));
  EXPECT_THAT(r.out, Not(HasSubstr("\n0\n")));
}

TEST_F(AgentProcess, ExitOfAContainerIsRemembered) {
  TestZone zone(io_);
  zone.run(sh("exit 6"));
  auto request = zone.agent().exitRequest();
  request.setContainerId("c0");
  const auto answer = zone.await(request.send().then([](auto&& r) { return kj::mv(r); }));
  EXPECT_TRUE(answer.getKnown());
  EXPECT_FALSE(answer.getRunning());
  EXPECT_EQ(answer.getExit().getExited(), 6);
  auto stranger = zone.agent().exitRequest();
  stranger.setContainerId("c9");
  EXPECT_FALSE(zone.await(stranger.send().then([](auto&& r) { return r.getKnown(); })));
}

}  // namespace
}  // namespace rauha::testing
