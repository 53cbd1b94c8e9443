// The whole backend against the real kernel, with a stand-in for the shim. Needs root. Everything made carries the name
// rauha-test-<pid>-<n>.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/backend-linux/backend.h"
#include "plugins/backend-linux/test_host.h"
#include "plugins/linux-common/cgroup_file.h"

namespace rauha::backend {
namespace {
namespace fs = std::filesystem;

struct BackendTest : ::testing::Test {
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    static int count = 0;
    instance = "rauha-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    host = std::make_unique<TestHost>(instance);
    overrides.ids = IdRangeConfig{};
    overrides.ids->directory = (host->root / "ids").string();
    start();
  }
  void TearDown() override {
    if (!host) return;
    reconcileAll();
    backend.reset();
    EXPECT_EQ(leftovers(), std::set<std::string>());
  }
  void start() { backend = std::make_unique<LinuxBackend>(host->host(), "", overrides); }
  std::vector<testing::CapturedFinding> reconcileAll() {
    testing::FindingCapture findings;
    sdk::Call own = host->call();
    backend->reconcile(own, {}, *findings.raw());
    return findings.findings;
  }
  rauha_zone_handle create(const SpecBuilder& spec) {
    sdk::Call call = host->call();
    const rauha_zone_handle out = backend->createZone(call, spec.spec(), *layers.raw());
    agent.reset(out.agent_fd_take);
    group.reset(out.cgroup_fd_take);
    return out;
  }
  void prepare(const std::string& id = "zone_test", const std::string& hostname = "ok") {
    SpecBuilder spec;
    spec.id = id;
    spec.hostname = hostname;
    spec.flags = RAUHA_ZONE_PREPARE | RAUHA_ZONE_EPHEMERAL;
    sdk::Call call = host->call();
    const rauha_zone_handle out = backend->createZone(call, spec.spec(), *layers.raw());
    EXPECT_EQ(out.agent_fd_take, -1);
    EXPECT_EQ(out.cgroup_fd_take, -1);
  }
  pid_t shimOf(const std::string& id) const {
    const auto shim = findShim(instance, id);
    return shim ? shim->pid : -1;
  }
  void destroy(const std::string& id = "zone_test") {
    sdk::Call call = host->call();
    backend->destroyZone(call, id);
  }
  // The error that f ends in; a call that succeeds fails the test.
  template <typename F>
  Error failure(F&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e;
    }
    ADD_FAILURE() << "succeeded, and should have failed";
    return Error("test", Code::none, "");
  }
  // Everything of the instance that exists anywhere.
  std::set<std::string> leftovers() const {
    std::set<std::string> out;
    const cgroup::Hierarchies h = cgroup::detect();
    auto look = [&](const std::string& path) {
      if (fs::exists(path)) out.insert(path);
    };
    look(h.v2Root + "/" + instance);
    for (const auto& [controller, mount] : h.v1) look(mount + "/" + instance);
    for (const auto& [zone, shim] : findShims(instance)) out.insert("shim of " + zone);
    for (const IdClaim& claim : IdRanges(*overrides.ids).claims(instance)) out.insert("ids of " + claim.zoneId);
    if (fs::exists(host->runtime() + "/zones"))
      for (const auto& entry : fs::directory_iterator(host->runtime() + "/zones")) out.insert(entry.path().string());
    return out;
  }
  // Without the instance's own empty groups, which stay until the daemon ends.
  std::set<std::string> leftoversOfZones() const {
    std::set<std::string> out = leftovers();
    std::erase_if(out, [&](const std::string& path) {
      return path.ends_with("/" + instance) && fs::is_directory(path) &&
             std::none_of(fs::directory_iterator(path), fs::directory_iterator(), [](const auto& e) { return e.is_directory(); });
    });
    return out;
  }

  std::string instance;
  std::unique_ptr<TestHost> host;
  Overrides overrides;
  std::unique_ptr<LinuxBackend> backend;
  testing::LayerCapture layers;
  UniqueFd agent, group;
};

SpecBuilder limited() {
  SpecBuilder spec;
  spec.number(RAUHA_ZONE_MEMORY_BYTES, 64 << 20)
      .number(RAUHA_ZONE_PIDS, 32)
      .number(RAUHA_ZONE_CPU_MILLIS, 500)
      .text(RAUHA_ZONE_CAPABILITY, "chown");
  return spec;
}

TEST_F(BackendTest, CreateCheckUpdateConnectDestroy) {
  const rauha_zone_handle made = create(limited());
  EXPECT_GE(made.agent_fd_take, 0);
  EXPECT_EQ(made.host_id_count, 65536u);
  EXPECT_GT(made.shim_pid, 0);
  for (const char* name : {"user_namespace", "seccomp", "cgroup_cpu", "cgroup_memory", "cgroup_pids", "network"}) {
    ASSERT_NE(layers.find(name), nullptr) << name;
    EXPECT_EQ(layers.find(name)->state, RAUHA_LAYER_FULL) << name << ": " << layers.find(name)->reason;
  }
  sdk::Call call = host->call();
  backend->checkZone(call, "zone_test");
  SpecBuilder change;
  change.number(RAUHA_ZONE_MEMORY_BYTES, 32 << 20);
  backend->updateZone(call, change.spec());
  backend->checkZone(call, "zone_test");
  const rauha_zone_handle again = backend->connectZone(call, "zone_test");
  EXPECT_EQ(again.host_id_base, made.host_id_base);
  EXPECT_EQ(again.shim_pid, made.shim_pid);
  ::close(again.agent_fd_take);
  ::close(again.cgroup_fd_take);
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  destroy();  // again
  EXPECT_EQ(failure([&] { backend->checkZone(call, "zone_test"); }).code(), Code::notFound);
  EXPECT_EQ(failure([&] { backend->connectZone(call, "zone_test"); }).code(), Code::notFound);
}

TEST_F(BackendTest, TwoZonesOfOneNameAreRefusedAndTheFirstLives) {
  const rauha_zone_handle made = create({});
  EXPECT_EQ(failure([&] { create({}); }).code(), Code::exists);
  EXPECT_EQ(::kill(made.shim_pid, 0), 0);
  sdk::Call call = host->call();
  backend->checkZone(call, "zone_test");
}

TEST_F(BackendTest, CheckSeesWhatIsMissing) {
  const rauha_zone_handle made = create(limited());
  sdk::Call call = host->call();
  const cgroup::Hierarchies h = cgroup::detect();
  std::string limit = h.v2Root + "/" + instance + "/zone_test/pids.max";
  for (const auto& [controller, mount] : h.v1)
    if (controller == "pids") limit = mount + "/" + instance + "/zone_test/pids.max";
  ASSERT_EQ(cgroup::tryWrite(limit, "33"), 0);
  EXPECT_NE(failure([&] { backend->checkZone(call, "zone_test"); }).text().find("33"), std::string::npos);
  ASSERT_EQ(cgroup::tryWrite(limit, "32"), 0);
  ::kill(made.shim_pid, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(made.shim_pid), &info, WEXITED);
  const Error e = failure([&] { backend->checkZone(call, "zone_test"); });
  EXPECT_EQ(e.code(), Code::conflict);
  EXPECT_NE(e.text().find("shim"), std::string::npos);
}

TEST_F(BackendTest, AFailureAfterAnyStepLeavesNothing) {
  std::vector<std::string> steps;
  overrides.afterStep = [&](std::string_view step) { steps.emplace_back(step); };
  start();
  create(limited());
  destroy();
  ASSERT_EQ(steps.size(), 10u);
  for (const std::string& bad : steps) {
    overrides.afterStep = [&](std::string_view step) {
      if (step == bad) throw Error("test", Code::io, "injected after " + bad);
    };
    start();
    EXPECT_EQ(failure([&] { create(limited()); }).text(), "injected after " + bad);
    EXPECT_EQ(leftoversOfZones(), std::set<std::string>()) << "after " << bad;
  }
  EXPECT_TRUE(host->fake.logs().empty()) << host->fake.logs().front().text;
}

// --- prepared zones

TEST_F(BackendTest, APreparedZoneBecomesTheOneThatIsAskedFor) {
  prepare();
  const pid_t shim = shimOf("zone_test");
  SpecBuilder spec = limited();
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  const rauha_zone_handle made = create(spec);
  EXPECT_EQ(made.shim_pid, shim);
  EXPECT_EQ(made.host_id_count, 65536u);
  for (const char* name : {"user_namespace", "seccomp", "cgroup_cpu", "cgroup_memory", "cgroup_pids", "network"})
    EXPECT_NE(layers.find(name), nullptr) << name;
  sdk::Call call = host->call();
  backend->checkZone(call, "zone_test");  // with the limits that came later
  EXPECT_EQ(failure([&] { create(spec); }).code(), Code::exists);
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, APreparedZoneThatDoesNotFitIsMadeAnew) {
  const auto kept = [](SpecBuilder& s) { s.flags = 0; };
  const auto named = [](SpecBuilder& s) { s.hostname = "other"; };
  const auto privileged = [](SpecBuilder& s) { s.flags = RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST; };
  const auto networked = [](SpecBuilder& s) {
    s.flags = RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST;
    s.network = RAUHA_NETWORK_HOST;
  };
  for (const std::function<void(SpecBuilder&)>& change :
       std::vector<std::function<void(SpecBuilder&)>>{kept, named, privileged, networked}) {
    prepare();
    const pid_t shim = shimOf("zone_test");
    SpecBuilder spec;
    spec.flags = RAUHA_ZONE_EPHEMERAL;
    change(spec);
    EXPECT_NE(create(spec).shim_pid, shim);
    EXPECT_EQ(::kill(shim, 0), -1) << "what was prepared is gone";
    destroy();
    EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  }
}

TEST_F(BackendTest, APreparedZoneWhoseShimDiedIsMadeAnew) {
  prepare();
  const pid_t shim = shimOf("zone_test");
  ::kill(shim, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(shim), &info, WEXITED | WNOWAIT);
  SpecBuilder spec;
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  EXPECT_NE(create(spec).shim_pid, shim);
}

TEST_F(BackendTest, APreparedZoneHasNoRecordsAndIsNotPrivileged) {
  SpecBuilder spec = limited();
  spec.flags = RAUHA_ZONE_PREPARE | RAUHA_ZONE_EPHEMERAL;
  EXPECT_EQ(failure([&] { create(spec); }).code(), Code::invalid);
  SpecBuilder privileged;
  privileged.flags = RAUHA_ZONE_PREPARE | RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST;
  EXPECT_EQ(failure([&] { create(privileged); }).code(), Code::unsupported);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, AFailureAfterAnyStepOfAPreparedZoneLeavesNothing) {
  std::vector<std::string> steps;
  overrides.afterStep = [&](std::string_view step) { steps.emplace_back(step); };
  start();
  SpecBuilder spec = limited();
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  prepare();
  const size_t preparing = steps.size();
  create(spec);
  destroy();
  ASSERT_EQ(preparing, 7u);
  ASSERT_EQ(steps.size(), 13u);
  for (size_t bad = 0; bad < steps.size(); ++bad) {
    size_t step = 0;
    overrides.afterStep = [&](std::string_view) {
      if (step++ == bad) throw Error("test", Code::denied, "injected after " + steps[bad]);
    };
    start();
    EXPECT_EQ(failure([&] {
                prepare();
                create(spec);
              }).text(),
              "injected after " + steps[bad]);
    EXPECT_EQ(leftoversOfZones(), std::set<std::string>()) << "after " << bad << ", " << steps[bad];
  }
  EXPECT_TRUE(host->fake.logs().empty()) << host->fake.logs().front().text;
}

TEST_F(BackendTest, APreparedZoneWhoseShimDiesOverTheRestIsMadeAnew) {
  prepare("zone_test", "dieLate");
  const pid_t shim = shimOf("zone_test");
  SpecBuilder spec;
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  spec.hostname = "dieLate";
  EXPECT_NE(create(spec).shim_pid, shim);
  EXPECT_EQ(layers.layers.size(), 7u) << "each layer once";
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

// v1 refuses a limit below what is used already, v2 ends zone init over it.
TEST_F(BackendTest, ALimitThatAPreparedZoneMayPassAlreadyGetsAFreshOne) {
  prepare();
  const pid_t shim = shimOf("zone_test");
  SpecBuilder spec;
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  spec.number(RAUHA_ZONE_MEMORY_BYTES, 4 << 20);
  EXPECT_NE(create(spec).shim_pid, shim);
  EXPECT_EQ(layers.find("cgroup_memory")->state, RAUHA_LAYER_FULL);
}

TEST_F(BackendTest, WhatWasPreparedGoesWithTheDaemonOrIsFoundByTheNext) {
  prepare();
  prepare("zone_destroyed");
  destroy("zone_destroyed");
  backend.reset();
  EXPECT_EQ(leftovers(), std::set<std::string>());
  start();
  prepare();
  const pid_t shim = shimOf("zone_test");
  [[maybe_unused]] LinuxBackend* lost = backend.release();  // as when the daemon was killed, but for the sockets
  start();
  EXPECT_FALSE(reconcileAll().empty());
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  EXPECT_NE(::kill(shim, 0), 0);
  delete lost;
}

TEST_F(BackendTest, TheShimsOwnErrorComesThrough) {
  SpecBuilder spec;
  spec.hostname = "refuse";
  const Error e = failure([&] { create(spec); });
  EXPECT_EQ(e.text(), "this kernel lacks what the test asked for");
  EXPECT_EQ(e.code(), Code::unsupported);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, AShimThatDiesIsQuoted) {
  SpecBuilder spec;
  spec.hostname = "die";
  const Error e = failure([&] { create(spec); });
  EXPECT_NE(e.text().find("the test told me to"), std::string::npos) << e.text();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, DeadlineAndCancelEndTheWait) {
  SpecBuilder spec;
  spec.hostname = "mute";
  host->deadline = monotonicNs() + 200'000'000;
  EXPECT_EQ(failure([&] { create(spec); }).code(), Code::deadline);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  host->deadline = 0;
  overrides.afterStep = [&](std::string_view step) {
    if (step == "boundary") host->cancel();
  };
  start();
  EXPECT_EQ(failure([&] { create(spec); }).code(), Code::cancelled);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, AMissingShimIsNamed) {
  host->fake.setLibexecDir("/nonexistent");
  start();
  const Error e = failure([&] { create({}); });
  EXPECT_NE(e.text().find("/nonexistent/rauha-shim"), std::string::npos) << e.text();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, AShimThatIgnoresItsSignalIsKilled) {
  SpecBuilder spec;
  spec.hostname = "deaf";
  create(spec);
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, ALaterDaemonFindsDestroysAndConnects) {
  const rauha_zone_handle made = create(limited());
  start();  // a new daemon: knows nothing but what is on disk and in the kernel
  sdk::Call call = host->call();
  backend->checkZone(call, "zone_test");
  const rauha_zone_handle again = backend->connectZone(call, "zone_test");
  EXPECT_EQ(again.shim_pid, made.shim_pid);
  ::close(again.agent_fd_take);
  ::close(again.cgroup_fd_take);
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, DestroyWorksWithoutTheRecord) {
  create(limited());
  start();
  fs::remove(host->runtime() + "/zones/zone_test/boundary.json");
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  create({});
  start();
  fs::remove_all(host->runtime() + "/zones/zone_test");
  destroy();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, ARecordWithSomebodyElsesPidHarmsNobody) {
  create({});
  const std::string directory = host->runtime() + "/zones/zone_test";
  const pid_t bystander = ::fork();
  if (bystander == 0)
    for (;;) ::pause();
  auto record = readRecord(directory);
  ASSERT_TRUE(record);
  const ShimIdentity real = record->shim;
  record->shim = {bystander, startTicksOf(bystander) + 1};
  writeRecord(directory, *record);
  start();
  destroy();
  EXPECT_EQ(::waitpid(bystander, nullptr, WNOHANG), 0);
  ::kill(bystander, SIGKILL);
  ::waitpid(bystander, nullptr, 0);
  // The real shim was found by its command line.
  EXPECT_NE(startTicksOf(real.pid), real.startTicks);
  EXPECT_TRUE(reconcileAll().empty());
}

TEST_F(BackendTest, ReconcileKeepsWhatIsWantedAndRemovesTheRest) {
  SpecBuilder keep, lose;
  keep.id = "zone_keep";
  lose.id = "zone_lose";
  create(keep);
  UniqueFd keptAgent = std::move(agent);
  create(lose);
  fs::create_directories(host->runtime() + "/zones/zone_halfmade");
  IdRanges(*overrides.ids).allocate(instance, "zone_idsonly");
  IdRanges(*overrides.ids).allocate("other-instance", "zone_foreign");
  start();
  testing::FindingCapture findings;
  sdk::Call call = host->call();
  backend->reconcile(call, {"zone_keep"}, *findings.raw());
  std::set<std::string> zones;
  for (const auto& f : findings.findings) {
    EXPECT_EQ(f.action, "removed") << f.object;
    zones.insert(f.zoneId);
  }
  EXPECT_EQ(zones, (std::set<std::string>{"zone_halfmade", "zone_idsonly", "zone_lose"}));
  backend->checkZone(call, "zone_keep");
  EXPECT_EQ(IdRanges(*overrides.ids).claims("other-instance").size(), 1u);
  findings.findings.clear();
  backend->reconcile(call, {"zone_keep"}, *findings.raw());
  EXPECT_TRUE(findings.findings.empty());
}

TEST_F(BackendTest, AnEphemeralShimEndsWithItsClientAndIsReaped) {
  SpecBuilder spec;
  spec.flags = RAUHA_ZONE_EPHEMERAL;
  const rauha_zone_handle made = create(spec);
  agent.reset();
  destroy();
  EXPECT_EQ(::kill(made.shim_pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(BackendTest, RequiredLayersThatAreNotThereRefuse) {
  SpecBuilder spec;
  spec.text(RAUHA_ZONE_REQUIRE, "enforcer");
  const Error e = failure([&] { create(spec); });
  EXPECT_EQ(e.code(), Code::unsupported);
  EXPECT_NE(e.text().find("enforcer"), std::string::npos);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
  SpecBuilder good;
  good.text(RAUHA_ZONE_REQUIRE, "seccomp").text(RAUHA_ZONE_REQUIRE, "cgroup_pids").text(RAUHA_ZONE_REQUIRE, "network");
  create(good);
}

TEST_F(BackendTest, ABadSyscallNameLeavesNothing) {
  SpecBuilder spec;
  spec.text(RAUHA_ZONE_SYSCALL_ALLOW, "frobnicate");
  EXPECT_NE(failure([&] { create(spec); }).text().find("frobnicate"), std::string::npos);
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, ManyZonesAtOnce) {
  std::vector<std::thread> threads;
  std::vector<uint32_t> bases(8);
  for (size_t i = 0; i < bases.size(); ++i)
    threads.emplace_back([&, i] {
      SpecBuilder spec;
      spec.id = "zone_" + std::to_string(i);
      testing::LayerCapture own;
      sdk::Call call = host->call();
      const rauha_zone_handle h = backend->createZone(call, spec.spec(), *own.raw());
      bases[i] = h.host_id_base;
      backend->destroyZone(call, spec.id);
      ::close(h.agent_fd_take);
      ::close(h.cgroup_fd_take);
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(leftoversOfZones(), std::set<std::string>());
}

TEST_F(BackendTest, PrivilegedZonesTakeNoIds) {
  SpecBuilder spec;
  spec.flags = RAUHA_ZONE_USERNS_HOST;
  spec.network = RAUHA_NETWORK_HOST;
  const rauha_zone_handle made = create(spec);
  EXPECT_EQ(made.host_id_count, 0u);
  EXPECT_EQ(layers.find("user_namespace")->state, RAUHA_LAYER_MISSING);
  EXPECT_EQ(layers.find("network")->state, RAUHA_LAYER_MISSING);
}

TEST_F(BackendTest, ProbeFindsWithoutLeaving) {
  const auto before = leftovers();
  sdk::Call call = host->call();
  const int64_t begin = monotonicNs();
  backend->probe(call, *layers.raw());
  EXPECT_LT(monotonicNs() - begin, 2'000'000'000);
  for (const std::string& name : layerNames()) EXPECT_NE(layers.find(name), nullptr) << name;
  for (const auto& l : layers.layers) {
    EXPECT_EQ(l.state == RAUHA_LAYER_FULL, l.reason.empty()) << l.name << ": " << l.reason;
    EXPECT_FALSE(l.detail.empty()) << l.name;
  }
  EXPECT_EQ(layers.find("user_namespace")->state, RAUHA_LAYER_FULL) << layers.find("user_namespace")->reason;
  EXPECT_EQ(layers.find("seccomp")->state, RAUHA_LAYER_FULL) << layers.find("seccomp")->reason;
  EXPECT_EQ(layers.find("enforcer")->state, RAUHA_LAYER_MISSING);
  EXPECT_EQ(layers.find("overlay")->state, RAUHA_LAYER_FULL) << layers.find("overlay")->reason;
  EXPECT_EQ(leftovers(), before);
}

}  // namespace
}  // namespace rauha::backend
