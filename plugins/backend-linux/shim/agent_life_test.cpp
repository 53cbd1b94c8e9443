// The life of a zone: limits, ends, lost clients, and what the zone must not be able to reach. Needs root.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "plugins/backend-linux/shim/testing/agent_fixture.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AgentLife : public AgentTest {
 protected:
  Live running(TestZone& zone, const std::string& script = "echo up; sleep 600") {
    Live live = zone.create(sh(script));
    EXPECT_FALSE(live.error) << live.error->text();
    EXPECT_FALSE(zone.start(live));
    while (live.out->find("up") == std::string::npos) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
    return live;
  }
};

TEST_F(AgentLife, MemoryLimitEndsTheWholeZone) {
  ZoneOptions options;
  options.memoryBytes = 64u << 20;
  TestZone zone(io_, options);
  const Ran r = zone.run(sh("sleep 500 & x=0123456789abcdef; while :; do x=$x$x; done"));
  EXPECT_TRUE(r.outOfMemory) << say(r);
  EXPECT_EQ(r.signaled, SIGKILL);
  EXPECT_TRUE(zone.zoneEmpties(5000));
  const Ran after = zone.run(sh("true"));
  ASSERT_TRUE(after.error);
  EXPECT_EQ(after.error->code(), Code::conflict);
}

TEST_F(AgentLife, MemoryOfAChildEndsTheMainProcessToo) {
  ZoneOptions options;
  options.memoryBytes = 64u << 20;
  TestZone zone(io_, options);
  // The parent is small and sleeps: on v1 the kernel alone would leave it.
  const Ran r = zone.run(sh("(x=0123456789abcdef; while :; do x=$x$x; done) & sleep 500"));
  EXPECT_TRUE(r.outOfMemory) << say(r);
  EXPECT_EQ(r.signaled, SIGKILL);
}

TEST_F(AgentLife, ScratchCountsAsMemory) {
  ZoneOptions options;
  options.memoryBytes = 64u << 20;
  TestZone zone(io_, options);
  Job job = sh("dd if=/dev/zero of=/big bs=1M count=200 2>/dev/null; echo survived");
  job.scratchBytes = 300u << 20;
  const Ran r = zone.run(job);
  EXPECT_TRUE(r.outOfMemory) << say(r);
}

TEST_F(AgentLife, ForkBombIsBounded) {
  ZoneOptions options;
  options.pids = 24;
  TestZone zone(io_, options);
  Live live = zone.create(sh("bomb() { bomb & bomb; }; bomb 2>/dev/null; sleep 600"));
  ASSERT_FALSE(zone.start(live));
  auto usage = [&] { return zone.await(zone.agent().usageRequest().send().then([](auto&& r) { return r.getUsage().getPidsRefused(); })); };
  const int64_t deadline = monotonicNs() + 10000000000;
  while (usage() == 0 && monotonicNs() < deadline) ::poll(nullptr, 0, 2);
  EXPECT_GT(usage(), 0u);
  zone.await<void>(zone.agent().killAllRequest().send().ignoreResult());
  EXPECT_TRUE(zone.groups().empty());
}

TEST_F(AgentLife, KillAllLetsMainProcessesEndThemselves) {
  TestZone zone(io_);
  Live live = running(zone, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done");
  auto kill = zone.agent().killAllRequest();
  kill.setGraceNs(10000000000);
  const int64_t begin = monotonicNs();
  zone.await<void>(kill.send().ignoreResult());
  EXPECT_LT(monotonicNs() - begin, 5000000000);
  EXPECT_TRUE(zone.groups().empty());
  const Ran r = zone.wait(live);
  EXPECT_EQ(r.exited, 3);
  EXPECT_THAT(r.out, HasSubstr("bye"));
}

// `wait` waits for what a child may still write, `died` does not.
TEST_F(AgentLife, TheDeathOfAProcessIsToldBeforeItsOutputEnds) {
  TestZone zone(io_);
  Live live =
      running(zone, "(trap '' TERM; while :; do sleep 0.05; done) & trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done");
  bool waited = false;
  auto waiting = live.process.waitRequest().send().then([&](auto&&) { waited = true; }).eagerlyEvaluate(nullptr);
  auto signal = live.process.signalRequest();
  signal.setNumber(SIGTERM);
  zone.await<void>(signal.send().ignoreResult());
  zone.await<void>(live.process.diedRequest().send().ignoreResult());
  EXPECT_FALSE(waited);
  EXPECT_FALSE(zone.groups().empty()) << "the child lives";
  zone.await<void>(zone.agent().killAllRequest().send().ignoreResult());
  EXPECT_TRUE(zone.groups().empty());
  zone.await<void>(live.process.diedRequest().send().ignoreResult());  // also of one that is dead already
  const Ran r = zone.wait(live);
  EXPECT_EQ(r.exited, 3);
  EXPECT_THAT(r.out, HasSubstr("bye"));
}

TEST_F(AgentLife, KillAllInsistsAfterTheGrace) {
  TestZone zone(io_);
  Live live = running(zone, "trap '' TERM; echo up; while :; do sleep 0.05; done");
  auto kill = zone.agent().killAllRequest();
  kill.setGraceNs(100000000);
  zone.await<void>(kill.send().ignoreResult());
  EXPECT_EQ(zone.wait(live).signaled, SIGKILL);
  EXPECT_TRUE(zone.groups().empty());
}

TEST_F(AgentLife, FrozenProcessesStandStill) {
  TestZone zone(io_);
  Live live = running(zone, "echo up; i=0; while :; do i=$((i+1)); echo $i; done");
  auto freeze = zone.agent().freezeRequest();
  freeze.setFrozen(true);
  zone.await<void>(freeze.send().ignoreResult());
  // What is still in the pipe arrives; then nothing.
  size_t before = 0;
  do {
    before = live.out->size();
    zone.await<void>(io_.provider->getTimer().afterDelay(100 * kj::MILLISECONDS));
  } while (before != live.out->size());
  auto thaw = zone.agent().freezeRequest();
  thaw.setFrozen(false);
  zone.await<void>(thaw.send().ignoreResult());
  while (before == live.out->size()) zone.await<void>(io_.provider->getTimer().afterDelay(1 * kj::MILLISECONDS));
}

TEST_F(AgentLife, ALostClientEndsAnEphemeralZone) {
  TestZone zone(io_);
  Live live = running(zone, "setsid sleep 600 & setsid sleep 600 & echo up; sleep 600");
  live.process = nullptr;
  zone.disconnect();
  EXPECT_TRUE(zone.shimEnds(5000));
  EXPECT_TRUE(zone.groups().empty());
}

TEST_F(AgentLife, AKilledShimTakesItsZoneAlong) {
  TestZone zone(io_);
  Live live = running(zone, "setsid sleep 600 & setsid sleep 600 & echo up; sleep 600");
  sys::pidfdSendSignal(zone.shimPidfd(), SIGKILL);
  EXPECT_TRUE(zone.shimEnds(5000));
  EXPECT_TRUE(zone.zoneEmpties(5000));
}

TEST_F(AgentLife, ALastingZoneSurvivesItsClient) {
  ZoneOptions options;
  options.ephemeral = false;
  options.listen = true;
  TestZone zone(io_, options);
  struct stat st;
  ASSERT_EQ(::stat(zone.socketPath().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  Live live = running(zone);
  live.process = nullptr;
  zone.reconnect();
  EXPECT_EQ(zone.await(zone.agent().helloRequest().send().then([](auto&& r) { return std::string(r.getZoneId().cStr()); })), zone.id());
  auto request = zone.agent().exitRequest();
  request.setContainerId("c0");
  EXPECT_TRUE(zone.await(request.send().then([](auto&& r) { return r.getRunning(); })));
  zone.await<void>(zone.agent().shutdownRequest().send().ignoreResult());
  EXPECT_TRUE(zone.shimEnds(5000));
}

TEST_F(AgentLife, SigtermEndsTheZoneInOrder) {
  ZoneOptions options;
  options.ephemeral = false;
  TestZone zone(io_, options);
  Live live = running(zone);
  sys::pidfdSendSignal(zone.shimPidfd(), SIGTERM);
  EXPECT_TRUE(zone.shimEnds(5000));
  EXPECT_TRUE(zone.groups().empty());
}

TEST_F(AgentLife, AProcessThatNobodyStartedIsEndedWithItsHandle) {
  TestZone zone(io_);
  Live live = zone.create(sh("true"));
  ASSERT_FALSE(live.error);
  UniqueFd blocked = sys::pidfdOpen(live.pid);
  live.process = nullptr;
  zone.await<void>(zone.agent().helloRequest().send().ignoreResult());
  struct pollfd p = {blocked.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 5000), 1);
}

TEST_F(AgentLife, ABlockedProcessHasNotRun) {
  TestZone zone(io_);
  Live live = zone.create(sh("echo ran"));
  ASSERT_FALSE(live.error);
  const std::string exe = "/proc/" + std::to_string(live.pid) + "/comm";
  EXPECT_EQ(readFile(exe), "rauha-shim\n");
  EXPECT_EQ(*live.out, "");
  EXPECT_THAT(readFile("/proc/" + std::to_string(live.pid) + "/status"), HasSubstr("\nSeccomp:\t2\n")) << "armed before it is let go";
  ASSERT_FALSE(zone.start(live));
  EXPECT_EQ(zone.wait(live).out, "ran\n");
  EXPECT_TRUE(zone.start(live)) << "a second start is refused";
}

TEST_F(AgentLife, ZoneInitHoldsNothingAndShowsNothing) {
  TestZone zone(io_);
  const Ran r = zone.run(sh(
      "cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline; echo; ls /proc/1/root /proc/1/fd /proc/1/cwd 2>&1; cat /proc/1/environ 2>&1; kill -9 1; kill -TERM 1;"
      "ls /proc/1 > /dev/null && echo alive; ps | wc -l"));
  EXPECT_THAT(r.out, HasSubstr("rauha-init\n")) << say(r);
  EXPECT_THAT(r.out, Not(HasSubstr(zone.id())));
  EXPECT_THAT(r.out, Not(HasSubstr("RAUHA_SECRET")));
  EXPECT_THAT(r.out, HasSubstr("alive\n"));
  EXPECT_THAT(r.out, ::testing::ContainsRegex("/proc/1/root: Permission denied"));
  const pid_t init = zone.await(zone.agent().helloRequest().send().then([](auto&& a) { return a.getPid(); }));
  const std::string proc = "/proc/" + std::to_string(init);
  int open = 0;
  if (DIR* d = ::opendir((proc + "/fd").c_str())) {
    while (::readdir(d) != nullptr) ++open;
    ::closedir(d);
  }
  EXPECT_EQ(open, 3) << "one descriptor, and the two dots";
  const std::string status = readFile(proc + "/status");
  EXPECT_THAT(status, HasSubstr("\nSeccomp:\t1\n"));
  EXPECT_THAT(status, HasSubstr("\nCapEff:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("\nUid:\t" + std::to_string(zone.hostIdBase()) + "\t"));
}

TEST_F(AgentLife, TheShimItselfIsOutsideAndClosed) {
  TestZone zone(io_);
  const std::string proc = "/proc/" + std::to_string(zone.shimPid());
  for (const auto& m : zone.groups().members()) EXPECT_THAT(readFile(proc + "/cgroup"), Not(HasSubstr(zone.id()))) << m.path;
  EXPECT_THAT(readFile(proc + "/environ"), Not(HasSubstr("=")));
}

TEST_F(AgentLife, NetworkIsLoopbackOnly) {
  TestZone zone(io_);
  const Ran r = zone.run(sh(
      "ls /sys/class/net; cat /sys/class/net/lo/operstate; (echo hi | nc -l -p 4000 &) ; sleep 0.2; nc 127.0.0.1 4000 < /dev/null; nc -w 1 192.0.2.1 80 2>&1; hostname"));
  EXPECT_THAT(r.out, ::testing::StartsWith("lo\n")) << say(r);
  EXPECT_THAT(r.out, HasSubstr("hi\n"));
  EXPECT_THAT(r.out, ::testing::ContainsRegex("unreachable"));
  EXPECT_THAT(r.out, HasSubstr("box\n"));
}

TEST_F(AgentLife, NestedUserNamespacesAreThePolicysDecision) {
  TestZone zone(io_);
  EXPECT_NE(zone.run(sh("unshare -U true 2>/dev/null")).exited, 0);
}

TEST_F(AgentLife, SetUserIdProgramsGiveNothing) {
  TempTree image;
  const std::string busybox = readFile("/bin/busybox", 8u << 20);
  image.write("suid/busybox", busybox, 0755);
  ASSERT_EQ(::chmod((image / "suid/busybox").c_str(), 04755), 0);
  TestZone zone(io_);
  Job job = sh("/suid/busybox id -u; stat -c %a /suid/busybox");
  job.layers = {busyboxLayer(), image.path()};
  job.user = "alice";
  EXPECT_EQ(zone.run(job).out, "1000\n4755\n");
}

TEST_F(AgentLife, PrivilegedZonesAreTheHostsRoot) {
  ZoneOptions options;
  options.userNamespace = false;
  options.hostNetwork = true;
  TestZone zone(io_, options);
  Job job = sh("cat /proc/self/uid_map | tr -s ' '; id -u; ls /sys/class/net | wc -l");
  job.layerMapping = schema::IdMapping::ZONE;
  const Ran r = zone.run(job);
  EXPECT_THAT(r.out, HasSubstr(" 0 0 4294967295\n0\n")) << say(r);
}

TEST_F(AgentLife, UsageIsCounted) {
  TestZone zone(io_);
  zone.run(sh("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"));
  const auto usage = zone.await(zone.agent().usageRequest().send().then([](auto&& r) { return kj::mv(r); }));
  EXPECT_GT(usage.getUsage().getCpuUserUs() + usage.getUsage().getCpuSystemUs(), 0u);
  EXPECT_GT(usage.getUsage().getMemoryPeakBytes(), 0u);
}

}  // namespace
}  // namespace rauha::testing
