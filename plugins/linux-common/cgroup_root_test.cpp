// Real control groups, named rauha-test-<pid>, made and removed. Needs root.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sched.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/linux-common/cgroup_create.h"
#include "plugins/linux-common/cgroup_file.h"
#include "plugins/linux-common/cgroup_kill.h"

namespace rauha::cgroup {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

struct RealTree : testing::Test {
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    instance = "rauha-test-" + std::to_string(::getpid());
    tree.emplace(detect(), Placement{instance, ""}, instance);
  }
  void TearDown() override {
    if (!tree) return;
    for (const std::string& zone : tree->found()) {
      tree->kill(zone);
      tree->remove(zone, monotonicNs() + 10 * kSecond);
    }
    tree->removeBase();
    for (const Member& m : tree->membersOf("x")) EXPECT_NE(::access(m.path.substr(0, m.path.size() - 2).c_str(), F_OK), 0) << m.path;
  }
  std::vector<Member> make(const Limits& limits) { return tree->create("z", limits, blockDeviceOf("/var/tmp"), layers); }
  Armed state(const std::string& name) const {
    for (const Layer& l : layers)
      if (l.name == name) return l.state;
    return Armed::missing;
  }

  // A child in all groups of the zone, the way the shim does it: into v2 by clone3, into v1 by itself, then the function.
  template <typename F>
  pid_t spawn(const ZoneGroups& groups, F&& f) {
    const std::vector<int> tasks = groups.v1TaskFds();
    clone_args args{};
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<uint64_t>(groups.v2Fd());
    const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
    if (pid != 0) return pid;
    for (const int fd : tasks)
      if (::write(fd, "0", 1) != 1) ::_exit(99);
    f();
    ::_exit(0);
  }
  static int await(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }

  std::string instance;
  std::optional<GroupTree> tree;
  std::vector<Layer> layers;
};

TEST_F(RealTree, LimitsAreInTheKernel) {
  Limits limits;
  limits.cpuMillis = 500;
  limits.cpuWeight = 50;
  limits.memoryBytes = 64 << 20;
  limits.pids = 7;
  const auto members = make(limits);
  EXPECT_EQ(state("cgroup_cpu"), Armed::full);
  EXPECT_EQ(state("cgroup_memory"), Armed::full);
  EXPECT_EQ(state("cgroup_pids"), Armed::full);
  for (const Member& m : members) {
    const bool v2 = tree->hierarchies().layout == Layout::v2;
    if (m.controller == "pids" || v2) {
      EXPECT_EQ(readNumber(m.path + "/pids.max"), 7u);
    }
    if (m.controller == "memory") {
      EXPECT_EQ(readNumber(m.path + "/memory.limit_in_bytes"), 64u << 20);
    }
    if (v2) {
      EXPECT_EQ(readNumber(m.path + "/memory.max"), 64u << 20);
    }
  }
  limits = {};
  limits.memoryBytes = 128 << 20;  // up, then down: v1 wants two orders
  tree->update("z", limits, std::nullopt);
  limits.memoryBytes = 32 << 20;
  tree->update("z", limits, std::nullopt);
  limits.memoryBytes = 0;
  tree->update("z", limits, std::nullopt);
  EXPECT_THROW(tree->update("other", limits, std::nullopt), Error);
}

TEST_F(RealTree, SecondZoneOfTheSameNameIsRefused) {
  make({});
  try {
    make({});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::exists);
  }
  EXPECT_EQ(tree->existing("z").size(), tree->membersOf("z").size());
}

TEST_F(RealTree, KillEndsForksAndRemoveWaitsForThem) {
  ZoneGroups groups(make({}));
  EXPECT_TRUE(groups.empty());
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t pid = spawn(groups, [&] {
    for (int i = 0; i < 5; ++i)
      if (::fork() == 0) break;
    if (::write(ready[1], "x", 1) != 1) ::_exit(98);
    for (;;) ::pause();
  });
  ASSERT_GT(pid, 0);
  char c[6];
  for (int got = 0; got < 6;) got += static_cast<int>(::read(ready[0], c, 6));
  EXPECT_FALSE(groups.empty());
  EXPECT_THROW(tree->remove("z", monotonicNs()), Error);  // it kills, but the deadline does not let it wait
  groups.kill();
  EXPECT_EQ(WTERMSIG(await(pid)), SIGKILL);
  tree->remove("z", monotonicNs() + 5 * kSecond);
  EXPECT_TRUE(tree->existing("z").empty());
  EXPECT_TRUE(groups.empty());  // gone is empty
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(RealTree, KillWithoutCgroupKill) {
  const auto members = make({});
  ZoneGroups groups(members);
  std::vector<pid_t> pids;
  for (int i = 0; i < 4; ++i)
    pids.push_back(spawn(groups, [] {
      for (;;) ::pause();
    }));
  killListed(members[0].path);
  for (const pid_t pid : pids) EXPECT_EQ(WTERMSIG(await(pid)), SIGKILL);
}

TEST_F(RealTree, PidsLimitRefusesForksAndIsCounted) {
  Limits limits;
  limits.pids = 3;
  ZoneGroups groups(make(limits));
  const pid_t pid = spawn(groups, [] {
    int refused = 0;
    for (int i = 0; i < 5; ++i) {
      const pid_t child = ::fork();
      if (child == 0)
        for (;;) ::pause();
      if (child < 0) ++refused;
    }
    ::_exit(refused);
  });
  EXPECT_EQ(WEXITSTATUS(await(pid)), 3);
  EXPECT_GE(groups.usage().pidsRefused, 3u);
  groups.kill();
}

TEST_F(RealTree, OutOfMemoryIsToldAndCounted) {
  Limits limits;
  limits.memoryBytes = 16 << 20;
  ZoneGroups groups(make(limits));
  EXPECT_FALSE(groups.outOfMemory());
  ASSERT_GE(groups.oomFd(), 0);
  pollfd p{groups.oomFd(), groups.oomPollEvents(), 0};
  EXPECT_EQ(::poll(&p, 1, 0), 0);
  const pid_t pid = spawn(groups, [] {
    constexpr size_t kSize = 64 << 20;
    void* m = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m != MAP_FAILED) ::memset(m, 1, kSize);
  });
  // The first notice may only say that the limit was reached; the kill is told by a later one.
  const int64_t deadline = monotonicNs() + 10 * kSecond;
  bool told = false;
  while (!told && monotonicNs() < deadline) told = ::poll(&p, 1, 1000) == 1 && groups.outOfMemory();
  EXPECT_TRUE(told);
  const int status = await(pid);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  const Usage usage = groups.usage();
  EXPECT_GE(usage.oomKills, 1u);
  EXPECT_GT(usage.memoryPeakBytes, 8u << 20);
  EXPECT_LE(usage.memoryPeakBytes, 16u << 20);
}

TEST_F(RealTree, ProcessorTimeIsCounted) {
  ZoneGroups groups(make({}));
  await(spawn(groups, [] {
    // By its own clock: the machine may have better to do meanwhile.
    for (timespec used{}; used.tv_sec == 0 && used.tv_nsec < 50'000'000;) ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  }));
  const Usage usage = groups.usage();
  EXPECT_GT(usage.cpuUserUs + usage.cpuSystemUs, 10'000u);
}

TEST_F(RealTree, FreezeStopsAndThawLetsRun) {
  ZoneGroups groups(make({}));
  int pipes[2];
  ASSERT_EQ(::pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
  const pid_t pid = spawn(groups, [&] {
    pollfd out{pipes[1], POLLOUT, 0};
    for (;;)
      if (::write(pipes[1], "x", 1) < 0) ::poll(&out, 1, -1);
  });
  groups.freeze(true);
  char buffer[65536];
  while (::read(pipes[0], buffer, sizeof buffer) > 0) {
  }
  pollfd p{pipes[0], POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 50), 0);
  groups.freeze(false);
  EXPECT_EQ(::poll(&p, 1, 5000), 1);
  groups.freeze(true);
  groups.kill();  // a frozen group dies too
  EXPECT_EQ(WTERMSIG(await(pid)), SIGKILL);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST_F(RealTree, DevicesAreLimited) {
  const auto members = make({});
  tree->limitDevices("z", {{'c', 1, 3, "rw"}, {'c', 1, 5, "r"}, {'c', 5, -1, "m"}});
  ZoneGroups groups(members);
  const pid_t pid = spawn(groups, [] {
    const bool null = ::open("/dev/null", O_RDWR) >= 0, zeroRead = ::open("/dev/zero", O_RDONLY) >= 0,
               zeroWrite = ::open("/dev/zero", O_WRONLY) >= 0, full = ::open("/dev/full", O_RDONLY) >= 0,
               random = ::open("/dev/random", O_RDONLY) >= 0;
    ::_exit((null ? 1 : 0) + (zeroRead ? 2 : 0) + (zeroWrite ? 4 : 0) + (full ? 8 : 0) + (random ? 16 : 0));
  });
  EXPECT_EQ(WEXITSTATUS(await(pid)), 3);
}

// The same decisions by the program that v2 needs, also on a machine that has the v1 controller.
TEST_F(RealTree, TheDeviceProgramDecidesAlike) {
  const auto members = make({});
  ZoneGroups groups(members);
  attachDeviceFilter(groups.v2Fd(), {{'c', 1, 3, "rw"}, {'c', 1, 5, "r"}, {'b', 1, -1, "rwm"}, {'c', 10, -1, "r"}});
  const std::string misc = "/dev/rauha-test-" + std::to_string(::getpid());
  const pid_t pid = spawn(groups, [&] {
    const bool null = ::open("/dev/null", O_RDWR) >= 0, zeroRead = ::open("/dev/zero", O_RDONLY) >= 0,
               zeroWrite = ::open("/dev/zero", O_WRONLY) >= 0, full = ::open("/dev/full", O_RDONLY) >= 0;
    const bool made = ::mknod(misc.c_str(), S_IFCHR | 0600, makedev(10, 229)) == 0;
    ::_exit((null ? 1 : 0) + (zeroRead ? 2 : 0) + (zeroWrite ? 4 : 0) + (full ? 8 : 0) + (made ? 16 : 0));
  });
  EXPECT_EQ(WEXITSTATUS(await(pid)), 3);
  ::unlink(misc.c_str());
}

}  // namespace
}  // namespace rauha::cgroup
