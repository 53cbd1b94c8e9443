// The fake host: what a test of a plugin may rely on.
#include <gtest/gtest.h>
#include <signal.h>
#include <rauha/testing/fake_host.hpp>

#include <fstream>

namespace rauha::testing {
namespace {

using sdk::str;

std::string pluginPath(const std::string& name) { return std::string(RAUHA_TEST_PLUGINS) + "/" + name + ".so"; }

TEST(FakeHost, HasPrivateDirectoriesThatGoWithIt) {
  std::string root;
  {
    const FakeHost host;
    root = host.root();
    struct stat st {};
    ASSERT_EQ(::stat(std::string(host.host().stateDir()).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700u);
    ASSERT_EQ(::stat(std::string(host.host().runtimeDir()).c_str(), &st), 0);
    EXPECT_EQ(host.host().instance(), host.instance());
    std::ofstream(host.stateDir() + "/file") << "x";
  }
  EXPECT_FALSE(std::filesystem::exists(root));
}

TEST(FakeHost, TwoHostsDifferInEverything) {
  const FakeHost a, b;
  EXPECT_NE(a.instance(), b.instance());
  EXPECT_NE(a.root(), b.root());
}

TEST(FakeHost, AGivenDirectoryOutlivesIt) {
  const FakeHost outer;
  const std::string directory = outer.root() + "/given";
  std::filesystem::create_directory(directory);
  {
    FakeHost::Options options;
    options.directory = directory;
    options.instance = "rauha-named";
    const FakeHost host(options);
    EXPECT_EQ(host.instance(), "rauha-named");
  }
  EXPECT_TRUE(std::filesystem::exists(directory + "/state/plugins"));
}

TEST(FakeHost, RecordsLogsErrorsAndProgress) {
  FakeHost host;
  FakeCall call(host);
  host.host().log(RAUHA_LOG_WARNING, "the water is cold");
  call.sdk().progress("unpacking", 3, 9);
  EXPECT_EQ(call.sdk().guard([] { throw sdk::Error(RAUHA_E_BUSY, "zone x is in use", "wait"); }), RAUHA_E_BUSY);
  EXPECT_TRUE(host.logged("cold"));
  EXPECT_FALSE(host.logged("warm"));
  EXPECT_EQ(host.logs().front().level, RAUHA_LOG_WARNING);
  ASSERT_EQ(call.progress().size(), 1u);
  EXPECT_EQ(call.progress().front().what, "unpacking");
  EXPECT_EQ(call.progress().front().total, 9u);
  EXPECT_EQ(call.status(), RAUHA_E_BUSY);
  EXPECT_EQ(call.text(), "zone x is in use");
  EXPECT_EQ(call.hint(), "wait");
  EXPECT_EQ(call.errors(), 1u);
}

// Of plugin.hpp, through which every C++ plugin fails.
TEST(Call, AFailureIsOneLineOfText) {
  FakeHost host;
  FakeCall call(host);
  const auto told = [&](const std::string& text) {
    call.sdk().guard([&] { throw sdk::Error(RAUHA_E_IO, text, text); });
    EXPECT_EQ(call.text(), call.hint());
    return call.text();
  };
  EXPECT_EQ(told("zone x: no"), "zone x: no");
  EXPECT_EQ(told("a\nb\tc\x7f"), "a b c ");
  EXPECT_EQ(told("\xff\xc3\xa4\xc3"), "?\xc3\xa4?");
  EXPECT_EQ(told("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80"), std::string(9, '?'));
  EXPECT_EQ(told(std::string(600, 'x')).size(), 512u);
  EXPECT_EQ(told(std::string(511, 'x') + "\xc3\xa4"), std::string(511, 'x')) << "no half character";
}

TEST(FakeHost, RecordsEventsUntilTheRoomEnds) {
  FakeHost::Options options;
  options.eventRoom = 2;
  FakeHost host(options);
  const rauha_attribute attribute{str("path"), str("/x")};
  rauha_event event{sizeof event, 0, 3, 0, str("file.denied"), str("zone_a"), str("no"), {&attribute, 1, sizeof attribute}};
  host.host().emit(event);
  const auto* events = static_cast<const rauha_events_v1*>(host.host().service(RAUHA_EVENTS_V1));
  ASSERT_NE(events, nullptr);
  EXPECT_EQ(events->emit(host.table()->context, &event), RAUHA_OK);
  EXPECT_EQ(events->emit(host.table()->context, &event), RAUHA_E_LIMIT);
  event.name = str("nameless");
  EXPECT_EQ(events->emit(host.table()->context, &event), RAUHA_E_INVALID);
  EXPECT_EQ(events->dropped(host.table()->context), 2u);
  ASSERT_EQ(host.events().size(), 2u);
  EXPECT_EQ(host.events()[0].zoneId, "zone_a");
  EXPECT_EQ(host.events()[0].attributes, (std::vector<std::pair<std::string, std::string>>{{"path", "/x"}}));
}

TEST(FakeHost, CancelsBeforeAndInTheMiddle) {
  FakeHost host;
  FakeCall call(host);
  pollfd fd{call.sdk().cancelFd(), POLLIN, 0};
  EXPECT_EQ(::poll(&fd, 1, 0), 0);
  call.cancelAfter(3);                   // the descriptor was asked for already: one
  EXPECT_FALSE(call.sdk().cancelled());  // two
  EXPECT_TRUE(call.sdk().cancelled());   // three
  EXPECT_EQ(::poll(&fd, 1, 0), 1);
  FakeCall other(host);
  other.cancel();
  EXPECT_THROW(other.sdk().check(), sdk::Error);
  EXPECT_EQ(other.uses(), 1u);
}

TEST(FakeHost, DeadlinesAreMonotonic) {
  FakeHost host;
  FakeCall call(host);
  EXPECT_EQ(call.sdk().deadlineNs(), 0);
  const int64_t before = clockNs();
  call.setDeadline(std::chrono::hours(1));
  EXPECT_GE(call.sdk().deadlineNs(), before + 3'600'000'000'000);
}

TEST(FakeHost, CallsFromManyThreadsAreRecorded) {
  FakeHost host;
  FakeCall call(host);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 100; ++k) host.host().log(1, "x"), call.sdk().progress("y", 0, 0), call.sdk().cancelled();
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(host.logs().size(), 400u);
  EXPECT_EQ(call.progress().size(), 400u);
  EXPECT_EQ(call.uses(), 800u);
}

TEST(FakeHost, TheLoopThreadIsTheTestsChoice) {
  FakeHost host;
  EXPECT_EQ(host.table()->on_loop_thread(host.table()->context), 0);
  host.setLoopThread(std::this_thread::get_id());
  EXPECT_EQ(host.table()->on_loop_thread(host.table()->context), 1);
}

// In a process of its own: what happens when the plugin reads what is not there.
int endOf(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGSEGV, SIG_DFL);
    ::signal(SIGBUS, SIG_DFL);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

TEST(FakeHost, AnOlderHostEndsInPoison) {
  FakeHost host;
  const size_t size = offsetof(rauha_host, progress);
  const rauha_host* old = host.truncated(size);
  EXPECT_EQ(old->struct_size, size);
  EXPECT_TRUE(RAUHA_HAS(old, log));
  EXPECT_FALSE(RAUHA_HAS(old, progress));
  old->log(old->context, 1, str("still here"));
  EXPECT_TRUE(host.logged("still here"));
  EXPECT_EQ(endOf([&] { (void)*const_cast<void* volatile const*>(reinterpret_cast<void* const*>(&old->progress)); }), SIGSEGV);
  EXPECT_EQ(endOf([&] { old->log(old->context, 1, str("x")); }), 0);
}

TEST(FakeHost, ANewerHostHasMoreThanWeKnow) {
  FakeHost host;
  const rauha_host* newer = host.larger(64);
  EXPECT_EQ(newer->struct_size, sizeof(rauha_host) + 64);
  EXPECT_EQ(newer->abi_minor, RAUHA_ABI_MINOR + 1u);
  EXPECT_EQ(newer->environment->instance.ptr, host.table()->environment->instance.ptr);
}

TEST(FakeServices, StateKeepsBlobsWithinItsLimits) {
  FakeHost host;
  FakeCall call(host);
  const auto* state = static_cast<const rauha_state_v1*>(host.host().service(RAUHA_STATE_V1));
  const auto put = [&](std::string_view zone, const std::string& bytes) {
    return state->put(host.table()->context, call.raw(), str(zone), {bytes.data(), bytes.size()});
  };
  std::string got;
  const rauha_bytes_sink sink{sizeof sink, 0, &got, [](void* to, rauha_bytes b) noexcept {
                                static_cast<std::string*>(to)->assign(static_cast<const char*>(b.ptr), b.len);
                              }};
  EXPECT_EQ(state->get(host.table()->context, call.raw(), str("zone_a"), &sink), RAUHA_E_NOT_FOUND);
  EXPECT_FALSE(call.text().empty());
  EXPECT_EQ(put("zone_a", std::string("a\0b", 3)), RAUHA_OK);
  EXPECT_EQ(state->get(host.table()->context, call.raw(), str("zone_a"), &sink), RAUHA_OK);
  EXPECT_EQ(got, std::string("a\0b", 3));
  EXPECT_EQ(put("zone_a", std::string(RAUHA_STATE_MAX_BYTES + 1, 'x')), RAUHA_E_LIMIT);
  host.state().knownZones({"zone_a"});
  EXPECT_EQ(put("zone_b", ""), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(state->erase(host.table()->context, nullptr, str("zone_a")), RAUHA_OK);
  EXPECT_EQ(state->erase(host.table()->context, nullptr, str("zone_a")), RAUHA_OK);
  EXPECT_EQ(host.state().size(), 0u);
}

struct Fired {
  std::vector<std::pair<uint64_t, uint64_t>> calls;  // number, times or events
  std::mutex mutex;
  std::condition_variable changed;
  static void take(void* context, uint64_t id, uint64_t n) noexcept {
    auto* self = static_cast<Fired*>(context);
    const std::lock_guard held(self->mutex);
    self->calls.emplace_back(id, n);
    self->changed.notify_all();
  }
  static void ready(void* context, uint64_t id, uint32_t events) noexcept { take(context, id, events); }
};

TEST(FakeServices, TimersFireWhenTheTestLetsTimePass) {
  FakeHost host;
  const auto* timers = static_cast<const rauha_timer_v1*>(host.host().service(RAUHA_TIMER_V1));
  Fired fired;
  uint64_t once = 0, often = 0;
  const rauha_timer_request first{sizeof first, 0, 2'000'000'000, 0, &fired, Fired::take};
  const rauha_timer_request second{sizeof second, 0, 1'000'000'000, 1'000'000'000, &fired, Fired::take};
  ASSERT_EQ(timers->start(host.table()->context, nullptr, &first, &once), RAUHA_OK);
  ASSERT_EQ(timers->start(host.table()->context, nullptr, &second, &often), RAUHA_OK);
  host.callbacks().advance(999'999'999);
  EXPECT_TRUE(fired.calls.empty());
  host.callbacks().advance(2'000'000'001);
  EXPECT_EQ(fired.calls, (std::vector<std::pair<uint64_t, uint64_t>>{{often, 1}, {once, 1}, {often, 1}, {often, 1}}));
  EXPECT_EQ(host.callbacks().liveTimers(), 1u);
  timers->cancel(host.table()->context, often);
  timers->cancel(host.table()->context, often);
  timers->cancel(host.table()->context, 4711);
  host.callbacks().advance(10'000'000'000);
  EXPECT_EQ(fired.calls.size(), 4u);
  FakeCall call(host);
  const rauha_timer_request bad{sizeof bad, 0, -1, 0, &fired, Fired::take};
  uint64_t none = 7;
  EXPECT_EQ(timers->start(host.table()->context, call.raw(), &bad, &none), RAUHA_E_INVALID);
  EXPECT_EQ(none, 7u);
  EXPECT_FALSE(call.text().empty());
}

TEST(FakeServices, WatchesSeeWhatIsReady) {
  FakeHost host;
  const auto* watches = static_cast<const rauha_watch_v1*>(host.host().service(RAUHA_WATCH_V1));
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Fired fired;
  uint64_t watch = 0;
  const rauha_watch_request request{sizeof request, 0, ends[0], RAUHA_WATCH_READABLE, &fired, Fired::ready};
  ASSERT_EQ(watches->add(host.table()->context, nullptr, &request, &watch), RAUHA_OK);
  ::close(ends[0]);  // the host has its own
  EXPECT_EQ(host.callbacks().dispatch(), 0);
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  EXPECT_EQ(host.callbacks().dispatch(), 1);
  EXPECT_EQ(host.callbacks().dispatch(), 1) << "still ready: called again";
  ::close(ends[1]);
  EXPECT_EQ(host.callbacks().dispatch(), 1);
  EXPECT_EQ(fired.calls.back(), (std::pair<uint64_t, uint64_t>{watch, RAUHA_WATCH_READABLE | RAUHA_WATCH_HUNG_UP}));
  watches->remove(host.table()->context, watch);
  EXPECT_EQ(host.callbacks().liveWatches(), 0u);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  const rauha_watch_request regular{sizeof regular, 0, file, RAUHA_WATCH_READABLE, &fired, Fired::ready};
  EXPECT_EQ(watches->add(host.table()->context, nullptr, &regular, &watch), RAUHA_E_UNSUPPORTED);
  ::close(file);
}

TEST(FakeServices, AServiceThreadCallsByItself) {
  FakeHost::Options options;
  options.serviceThread = true;
  FakeHost host(options);
  const auto* timers = static_cast<const rauha_timer_v1*>(host.host().service(RAUHA_TIMER_V1));
  const auto* watches = static_cast<const rauha_watch_v1*>(host.host().service(RAUHA_WATCH_V1));
  Fired fired, seen;
  uint64_t timer = 0, watch = 0;
  const rauha_timer_request request{sizeof request, 0, 0, RAUHA_TIMER_MIN_PERIOD_NS, &fired, Fired::take};
  ASSERT_EQ(timers->start(host.table()->context, nullptr, &request, &timer), RAUHA_OK);
  const int ready = ::eventfd(1, EFD_CLOEXEC);
  const rauha_watch_request readable{sizeof readable, RAUHA_WATCH_ONCE, ready, RAUHA_WATCH_READABLE, &seen, Fired::ready};
  ASSERT_EQ(watches->add(host.table()->context, nullptr, &readable, &watch), RAUHA_OK);
  {
    std::unique_lock held(fired.mutex);
    fired.changed.wait(held, [&] { return fired.calls.size() >= 3; });
  }
  {
    std::unique_lock held(seen.mutex);
    seen.changed.wait(held, [&] { return !seen.calls.empty(); });
  }
  timers->cancel(host.table()->context, timer);
  const size_t calls = fired.calls.size();
  host.callbacks().stopServiceThread();
  EXPECT_EQ(fired.calls.size(), calls) << "fired after cancel returned";
  EXPECT_EQ(seen.calls.size(), 1u) << "asked for once";
  ::close(ready);
}

struct Spawner {
  explicit Spawner(FakeHost& h) : host(h), table(static_cast<const rauha_spawn_v1*>(h.host().service(RAUHA_SPAWN_V1))) {}
  rauha_status start(const std::string& program, std::vector<std::string_view> argv, std::map<int, int> fds = {}) {
    std::vector<rauha_str> arguments;
    arguments.reserve(argv.size());
    for (const std::string_view a : argv) arguments.push_back(str(a));
    std::vector<rauha_spawn_descriptor> descriptors;
    descriptors.reserve(fds.size());
    for (const auto& [number, fd] : fds) descriptors.push_back({sizeof(rauha_spawn_descriptor), 0, fd, number});
    rauha_spawn_request request{};
    request.struct_size = sizeof request;
    request.program = str(program);
    request.arguments = {arguments.data(), static_cast<uint32_t>(arguments.size()), sizeof(rauha_str)};
    request.descriptors = {descriptors.data(), static_cast<uint32_t>(descriptors.size()), sizeof(rauha_spawn_descriptor)};
    handle.struct_size = sizeof handle;
    return table->start(host.table()->context, call.raw(), &request, &handle);
  }
  rauha_status wait() {
    end.struct_size = sizeof end;
    const rauha_status status = table->wait(host.table()->context, call.raw(), handle.pidfd_take, &end);
    return status;
  }
  FakeHost& host;
  const rauha_spawn_v1* table;
  FakeCall call{host};
  rauha_spawn_handle handle{};
  rauha_spawn_end end{};
};

TEST(FakeServices, SpawnRunsProgramsWithExactlyTheirDescriptors) {
  FakeHost host;
  Spawner spawner(host);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ASSERT_EQ(spawner.start("/bin/sh", {"sh", "-c", "echo $# $(ls /proc/self/fd | wc -l); exit 7", "x", "y"}, {{1, ends[1]}}), RAUHA_OK)
      << spawner.call.text();
  ::close(ends[1]);
  char text[64] = {};
  EXPECT_GT(::read(ends[0], text, sizeof text - 1), 0);
  EXPECT_EQ(std::string(text).substr(0, 2), "1 ");
  EXPECT_LE(std::strtol(text + 2, nullptr, 10), 5) << "0, 1, 2, a pipe of the shell's, and the directory itself";
  EXPECT_EQ(spawner.wait(), RAUHA_OK);
  EXPECT_EQ(spawner.end.how, RAUHA_SPAWN_EXITED);
  EXPECT_EQ(spawner.end.code, 7u);
  EXPECT_EQ(spawner.wait(), RAUHA_E_NOT_FOUND) << "once per helper";
  ::close(spawner.handle.pidfd_take);
  ::close(ends[0]);
  EXPECT_EQ(spawner.start("/nonexistent/program", {"p"}), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(spawner.start("program", {"p"}), RAUHA_E_INVALID);
  EXPECT_EQ(host.spawn().unwaited(), 0u);
}

TEST(FakeServices, ASpawnedProgramCanBeReplaced) {
  FakeHost host;
  host.spawn().replace("/usr/sbin/nft",
                       [](const SpawnedProgram& p) { return p.arguments.size() == 2 && p.arguments[1] == "list" ? 3 : 4; });
  Spawner spawner(host);
  ASSERT_EQ(spawner.start("/usr/sbin/nft", {"nft", "list"}), RAUHA_OK);
  EXPECT_EQ(spawner.wait(), RAUHA_OK);
  EXPECT_EQ(spawner.end.code, 3u);
  EXPECT_EQ(host.spawn().started().front().program, "/usr/sbin/nft");
  ::close(spawner.handle.pidfd_take);
}

TEST(FakeServices, WaitingForAHelperEndsWithTheCall) {
  FakeHost host;
  Spawner spawner(host);
  ASSERT_EQ(spawner.start("/bin/sh", {"sh", "-c", "read never"}, {}), RAUHA_OK);
  EXPECT_EQ(spawner.wait(), RAUHA_OK) << "its input is empty";
  ::close(spawner.handle.pidfd_take);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ASSERT_EQ(spawner.start("/bin/cat", {"cat"}, {{0, ends[0]}}), RAUHA_OK);
  spawner.call.setDeadline(std::chrono::milliseconds(1));
  EXPECT_EQ(spawner.wait(), RAUHA_E_DEADLINE);
  spawner.call.setDeadlineNs(0);
  spawner.call.cancel();
  EXPECT_EQ(spawner.wait(), RAUHA_E_CANCELLED);
  EXPECT_EQ(host.spawn().unwaited(), 1u);
  host.spawn().dropAll();
  EXPECT_EQ(::kill(spawner.handle.pid, 0), -1) << "killed and reaped, as after destroy()";
  ::close(spawner.handle.pidfd_take);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(FakeServices, CanBeTakenAway) {
  FakeHost host;
  host.withdraw(RAUHA_STATE_V1);
  EXPECT_EQ(host.host().service(RAUHA_STATE_V1), nullptr);
  EXPECT_NE(host.host().service(RAUHA_WATCH_V1), nullptr);
  EXPECT_EQ(host.host().service("rauha.fdstore/1"), nullptr);
}

TEST(Instance, OfAFile) {
  FakeHost host;
  const Plugin plugin = Plugin::fromFile(pluginPath("good-backend"));
  Instance instance(host, plugin);
  EXPECT_TRUE(host.logged("made for " + host.instance()));
  const auto* backend = instance.table<rauha_backend_v1>(RAUHA_BACKEND_V1);
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(instance.table<rauha_image_v1>(RAUHA_IMAGE_V1), nullptr);
  FakeCall call(host);
  LayerCapture layers;
  ASSERT_EQ(backend->probe(instance.raw(), call.raw(), layers.raw()), RAUHA_OK);
  ASSERT_NE(layers.find("cgroup_io"), nullptr);
  EXPECT_EQ(layers.find("cgroup_io")->remedy, "boot with cgroup v2");
  EXPECT_EQ(layers.find("nothing"), nullptr);
  FindingCapture findings;
  const rauha_str zones[] = {str("zone_a"), str("zone_b")};
  ASSERT_EQ(backend->reconcile(instance.raw(), call.raw(), {zones, 2, sizeof(rauha_str)}, findings.raw()), RAUHA_OK);
  ASSERT_EQ(findings.findings.size(), 2u);
  EXPECT_EQ(findings.findings[1].zoneId, "zone_b");
  ZoneSpecBuilder builder;
  builder.number(RAUHA_ZONE_PIDS, 32).text(RAUHA_ZONE_CAPABILITY, "chown");
  const rauha_zone_spec spec = builder.spec();
  LayerCapture armed;
  rauha_zone_handle handle{};
  handle.struct_size = sizeof handle;
  ASSERT_EQ(backend->zone_create(instance.raw(), call.raw(), &spec, armed.raw(), &handle), RAUHA_OK) << call.text();
  ::close(handle.agent_fd_take);
  ::close(handle.cgroup_fd_take);
  EXPECT_EQ(armed.layers.front().detail, "0,0,test;4:32::1;10:0:chown:1");
}

TEST(Instance, ImagesAsValues) {
  FakeHost host;
  Instance instance(host, Plugin::fromFile(pluginPath("good-image")));
  const auto* images = instance.table<rauha_image_v1>(RAUHA_IMAGE_V1);
  FakeCall call(host);
  ImageCapture got;
  rauha_image_request request{};
  request.struct_size = sizeof request;
  ASSERT_EQ(images->list(instance.raw(), call.raw(), &request, got.raw()), RAUHA_OK);
  ASSERT_EQ(got.images.size(), 2u);
  EXPECT_EQ(got.images[0].reference, "first");
  ASSERT_EQ(got.images[0].layers.size(), 2u);
  EXPECT_EQ(got.images[0].layers[0].path, "/store/layers/1");
  EXPECT_FALSE(got.images[0].layers[0].hasDirectory);
  EXPECT_TRUE(got.images[0].layers[1].hasDirectory);
  ASSERT_EQ(got.images[1].mounts.size(), 5u);
  EXPECT_EQ(got.images[1].mounts[2].source, std::string("a\0b", 3));
  EXPECT_EQ(got.strays, 0u);
}

TEST(Instance, AFailedCreateIsThrownWithItsText) {
  FakeHost host;
  const Plugin plugin = Plugin::fromFile(pluginPath("good-backend"));
  try {
    const Instance instance(host, plugin, "throw");
    FAIL() << "create succeeded";
  } catch (const PluginError& e) {
    EXPECT_EQ(e.status(), RAUHA_E_INVALID);
    EXPECT_STREQ(e.what(), "line 1: unknown key \"throw\"");
    EXPECT_EQ(e.hint(), "remove it");
  }
}

TEST(Instance, AFileThatIsNoPluginIsRefused) {
  EXPECT_THROW(Plugin::fromFile("/nonexistent.so"), std::runtime_error);
  EXPECT_THROW(Plugin::fromFile(pluginPath("raw-no-entry")), std::runtime_error);
  EXPECT_THROW(Plugin::fromFile(pluginPath("raw-null-entry")), std::runtime_error);
}

}  // namespace
}  // namespace rauha::testing
