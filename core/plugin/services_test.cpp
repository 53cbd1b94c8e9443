// The services through their C tables and the C++ wrappers, as a plugin uses them.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <atomic>
#include <condition_variable>
#include <map>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/host_services.h"
#include "core/plugin/service_tables.h"

namespace rauha::plugin {
namespace {

using sdk::str;

class Memory final : public StateKeeper {
 public:
  void put(std::string_view plugin, std::string_view zone, std::string_view bytes) override {
    if (zone != "zone_1") throw Error("store", Code::notFound, "no zone '" + std::string(zone) + "'");
    kept[std::string(plugin)] = bytes;
  }
  std::optional<std::string> get(std::string_view plugin, std::string_view) override {
    const auto it = kept.find(std::string(plugin));
    return it == kept.end() ? std::nullopt : std::optional(it->second);
  }
  void erase(std::string_view plugin, std::string_view) override { kept.erase(std::string(plugin)); }
  std::map<std::string, std::string> kept;
};

// Something that a callback says and a test waits for, however slow the machine.
class Signal {
 public:
  void set() {
    std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool wait(int count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return count_ >= count; });
  }
  int count() {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

class ServicesTest : public testing::Test {
 protected:
  ServicesTest() {
    HostCallbacks callbacks;
    callbacks.log = [this](LogLevel, std::string_view, std::string_view text) {
      std::lock_guard lock(mutex);
      logs.emplace_back(text);
    };
    callbacks.state = &memory;
    services = std::make_unique<HostServices>("test-plugin", PluginConfig{}, std::move(callbacks));
  }
  sdk::Host host() { return sdk::Host(services->table()); }
  template <typename T>
  const T& table(const char* id) {
    return host().require<T>(id);
  }
  rauha_host_context* context() { return services->table()->context; }
  // The text that the host set on the call.
  template <typename F>
  std::string failure(F&& f, Code code) {
    PluginCall call(*services, options, "backend", "zone_create");
    const rauha_status status = f(call.raw());
    EXPECT_EQ(status, static_cast<rauha_status>(code));
    try {
      call.finish(status);
    } catch (const Error& e) {
      return e.text();
    }
    return "no error";
  }
  CallOptions options;
  Memory memory;
  std::mutex mutex;
  std::vector<std::string> logs;
  std::unique_ptr<HostServices> services;
};

TEST_F(ServicesTest, AreKnownByIdAndOfferedByWhatTheHostCan) {
  const rauha_host* raw = services->table();
  for (const char* id : {RAUHA_STATE_V1, RAUHA_EVENTS_V1, RAUHA_TIMER_V1, RAUHA_WATCH_V1, RAUHA_SPAWN_V1})
    EXPECT_NE(raw->get_service(raw->context, id), nullptr) << id;
  EXPECT_EQ(raw->get_service(raw->context, "rauha.state/2"), nullptr);
  HostCallbacks bare;
  bare.spawn = false;
  EXPECT_EQ(offeredServices(bare), (std::vector<std::string>{RAUHA_EVENTS_V1, RAUHA_TIMER_V1, RAUHA_WATCH_V1}));
  HostServices less("less", PluginConfig{}, bare);
  EXPECT_EQ(less.table()->get_service(less.table()->context, RAUHA_STATE_V1), nullptr);
  EXPECT_EQ(less.table()->get_service(less.table()->context, RAUHA_SPAWN_V1), nullptr);
}

TEST_F(ServicesTest, StateIsKeptPerPluginAndRefusedWithAText) {
  const sdk::State state(host());
  PluginCall call(*services, options, "backend", "zone_create");
  sdk::Call sdkCall(services->table(), call.raw());
  EXPECT_EQ(state.get(sdkCall, "zone_1"), std::nullopt);
  state.put(sdkCall, "zone_1", std::string("\0x", 2));
  EXPECT_EQ(memory.kept["test-plugin"], std::string("\0x", 2));
  EXPECT_EQ(state.get(sdkCall, "zone_1"), std::string("\0x", 2));
  state.erase(sdkCall, "zone_1");
  state.erase(sdkCall, "zone_1");
  EXPECT_TRUE(memory.kept.empty());
  EXPECT_EQ(services->health().violations, 0u);

  const auto& raw = table<rauha_state_v1>(RAUHA_STATE_V1);
  const std::string big(RAUHA_STATE_MAX_BYTES + 1, 'x');
  EXPECT_EQ(failure(
                [&](rauha_call* c) {
                  return raw.put(context(), c, str("zone_1"), {big.data(), big.size()});
                },
                Code::limit),
            "put state: 65537 bytes for zone zone_1, at most 65536");
  EXPECT_EQ(failure(
                [&](rauha_call* c) {
                  return raw.put(context(), c, str("zone_2"), {big.data(), 1});
                },
                Code::notFound),
            "put state: no zone 'zone_2'");
  EXPECT_EQ(failure(
                [&](rauha_call* c) {
                  return raw.put(context(), c, str(""), {big.data(), 1});
                },
                Code::invalid),
            "put state: no zone id was given");
  EXPECT_EQ(failure(
                [&](rauha_call* c) {
                  return raw.put(context(), c, str("zone_1"), {nullptr, 1});
                },
                Code::invalid),
            "put state: the bytes are a null pointer");
  EXPECT_EQ(failure([&](rauha_call* c) { return raw.get(context(), c, str("zone_1"), nullptr); }, Code::invalid),
            "get state: the sink is null");
  EXPECT_EQ(services->health().violations, 3u);
}

// A failure of a service inside a wrapper keeps the host's text; the plugin's own exceptions keep theirs.
TEST_F(ServicesTest, AServicesTextReachesTheCaller) {
  const sdk::State state(host());
  const auto run = [&](rauha_call* c) {
    sdk::Call call(services->table(), c);
    return call.guard([&] { state.put(call, "zone_2", "x"); });
  };
  EXPECT_EQ(failure(run, Code::notFound), "put state: no zone 'zone_2'");
}

TEST_F(ServicesTest, ATimerFiresOnceOrAgainAndAgain) {
  Signal once, often;
  sdk::Timer one(host(), 1'000'000, 0, [&](uint64_t times) {
    EXPECT_EQ(times, 1u);
    once.set();
  });
  sdk::Timer two(host(), 0, 2'000'000, [&](uint64_t times) {
    EXPECT_GE(times, 1u);
    often.set();
  });
  EXPECT_TRUE(once.wait());
  EXPECT_TRUE(often.wait(5));
  EXPECT_EQ(once.count(), 1);
}

TEST_F(ServicesTest, CancelWaitsForACallbackThatRuns) {
  Signal entered, leave;
  std::atomic<bool> left{false};
  auto timer = std::make_unique<sdk::Timer>(host(), 0, 1'000'000, [&](uint64_t) {
    entered.set();
    leave.wait();
    left = true;
  });
  ASSERT_TRUE(entered.wait());
  std::thread releasing([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    leave.set();
  });
  timer.reset();
  EXPECT_TRUE(left);
  const int calls = entered.count();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(entered.count(), calls);
  releasing.join();
}

TEST_F(ServicesTest, ACallbackMayCancelItself) {
  struct Self {
    const rauha_timer_v1* table;
    rauha_host_context* context;
    Signal fired;
  } self{&table<rauha_timer_v1>(RAUHA_TIMER_V1), context(), {}};
  const rauha_timer_request request{sizeof request, 0, 0, 1'000'000, &self, [](void* s, uint64_t number, uint64_t) noexcept {
                                      auto& me = *static_cast<Self*>(s);
                                      me.table->cancel(me.context, number);
                                      me.fired.set();
                                    }};
  uint64_t number = 0;
  ASSERT_EQ(self.table->start(context(), nullptr, &request, &number), RAUHA_OK);
  EXPECT_TRUE(self.fired.wait());
  self.table->cancel(context(), number);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(self.fired.count(), 1);
}

TEST_F(ServicesTest, CallbacksOfOnePluginNeverOverlap) {
  std::atomic<int> inside{0}, calls{0};
  std::atomic<bool> overlapped{false};
  Signal enough;
  const auto body = [&] {
    if (inside.fetch_add(1) != 0) overlapped = true;
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    inside.fetch_sub(1);
    if (++calls > 50) enough.set();
  };
  const UniqueFd event(eventfd(1, EFD_CLOEXEC));
  sdk::Timer a(host(), 0, 1'000'000, [&](uint64_t) { body(); });
  sdk::Timer b(host(), 0, 1'000'000, [&](uint64_t) { body(); });
  sdk::Watch c(host(), event.get(), RAUHA_WATCH_READABLE, [&](uint32_t) { body(); });
  EXPECT_TRUE(enough.wait());
  EXPECT_FALSE(overlapped);
}

TEST_F(ServicesTest, TimersAreChecked) {
  const auto& raw = table<rauha_timer_v1>(RAUHA_TIMER_V1);
  uint64_t number = 0;
  rauha_timer_request request{sizeof request, 0, 1'000'000'000'000, 0, nullptr, nullptr};
  const auto start = [&](rauha_call* c) { return raw.start(context(), c, &request, &number); };
  EXPECT_EQ(failure(start, Code::invalid), "start a timer: there is no function to call, or no place for the number");
  request.fire = [](void*, uint64_t, uint64_t) noexcept {};
  request.after_ns = -1;
  EXPECT_EQ(failure(start, Code::invalid), "start a timer: after_ns is -1");
  request.after_ns = INT64_MAX;
  request.every_ns = 999'999;
  EXPECT_EQ(failure(start, Code::invalid), "start a timer: every_ns is 999999, at least 1000000");
  request.every_ns = 0;
  request.flags = 2;
  EXPECT_EQ(failure(start, Code::unsupported), "start a timer: the request has unknown flag bits 2");
  request.flags = 0;
  request.struct_size = 8;
  EXPECT_EQ(failure(start, Code::invalid), "start a timer: the request says that it has 8 bytes, expected 40 to 4096");
  request.struct_size = sizeof request;
  for (uint32_t i = 0; i < RAUHA_TIMER_MAX; ++i) ASSERT_EQ(start(nullptr), RAUHA_OK);
  EXPECT_EQ(failure(start, Code::limit), "start a timer: more than 256 timers");
  raw.cancel(context(), number);
  EXPECT_EQ(start(nullptr), RAUHA_OK);
  raw.cancel(context(), 123456);
}

TEST_F(ServicesTest, AWatchReportsAsLongAsTheDescriptorIsReady) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  Signal readable, hungUp;
  auto watch = std::make_unique<sdk::Watch>(host(), readEnd.get(), RAUHA_WATCH_READABLE, [&](uint32_t events) {
    if ((events & RAUHA_WATCH_READABLE) != 0) {
      char byte;
      EXPECT_EQ(read(ends[0], &byte, 1), 1);
      readable.set();
    } else if ((events & RAUHA_WATCH_HUNG_UP) != 0) {
      hungUp.set();
    }
  });
  ASSERT_EQ(write(writeEnd.get(), "abc", 3), 3);
  EXPECT_TRUE(readable.wait(3));
  writeEnd.reset();
  EXPECT_TRUE(hungUp.wait(2));
  watch.reset();
  EXPECT_EQ(fcntl(readEnd.get(), F_GETFD), FD_CLOEXEC);  // still ours
}

TEST_F(ServicesTest, AWatchOfOneShotIsGone) {
  const UniqueFd event(eventfd(1, EFD_CLOEXEC));
  Signal fired;
  const auto& raw = table<rauha_watch_v1>(RAUHA_WATCH_V1);
  rauha_watch_request request{sizeof request, RAUHA_WATCH_ONCE,
                              event.get(),    RAUHA_WATCH_READABLE,
                              &fired,         [](void* s, uint64_t, uint32_t) noexcept { static_cast<Signal*>(s)->set(); }};
  uint64_t number = 0;
  ASSERT_EQ(raw.add(context(), nullptr, &request, &number), RAUHA_OK);
  EXPECT_TRUE(fired.wait());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fired.count(), 1);
  raw.remove(context(), number);

  request.flags = 0;
  const UniqueFd file(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  request.fd_borrow = file.get();
  const auto add = [&](rauha_call* c) { return raw.add(context(), c, &request, &number); };
  const std::string text = failure(add, Code::unsupported);
  EXPECT_NE(text.find("cannot be waited for: it is a regular file or directory"), std::string::npos) << text;
  request.fd_borrow = 900;
  EXPECT_EQ(failure(add, Code::invalid), "watch a descriptor: fd_borrow 900 is not an open descriptor");
}

TEST_F(ServicesTest, ThePluginsEndEndsItsCallbacks) {
  Signal fired;
  const auto& raw = table<rauha_timer_v1>(RAUHA_TIMER_V1);
  const rauha_timer_request request{sizeof request, 0,      0,
                                    1'000'000,      &fired, [](void* s, uint64_t, uint64_t) noexcept { static_cast<Signal*>(s)->set(); }};
  uint64_t number = 0;
  ASSERT_EQ(raw.start(context(), nullptr, &request, &number), RAUHA_OK);
  EXPECT_TRUE(fired.wait(2));
  services.reset();
  const int calls = fired.count();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(fired.count(), calls);
}

class SpawnTest : public ServicesTest {
 protected:
  // What a shell says on descriptor 1.
  std::string say(const std::string& script, uint32_t flags = 0) {
    PluginCall call(*services, options, "backend", "zone_create");
    sdk::Call sdkCall(services->table(), call.raw());
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd readEnd(ends[0]);
    UniqueFd writeEnd(ends[1]);
    const sdk::Spawn spawn(host());
    const UniqueFd pidfd(spawn.start(sdkCall, {"/bin/sh", "-c", script}, {{writeEnd.get(), 1}}, {"A=b"}, flags));
    writeEnd.reset();
    std::string out = readAll(readEnd.get(), "pipe");
    const rauha_spawn_end end = spawn.wait(sdkCall, pidfd.get());
    EXPECT_EQ(end.how, RAUHA_SPAWN_EXITED);
    EXPECT_EQ(end.code, 0u);
    return out;
  }
};

TEST_F(SpawnTest, NothingIsInherited) {
  setenv("RAUHA_TEST_SECRET", "x", 1);
  const UniqueFd leaky(fcntl(0, F_DUPFD, 77));  // without O_CLOEXEC
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  signal(SIGPIPE, SIG_IGN);
  const std::string out = say(
      "pwd; umask; echo \"$A $RAUHA_TEST_SECRET.\"; for f in /proc/self/fd/*; do echo \"${f##*/}\"; done; grep -E \"^(SigBlk|SigIgn|NoNewPrivs)\" "
      "/proc/self/status; readlink /proc/self/fd/0 /proc/self/fd/2");
  signal(SIGPIPE, SIG_DFL);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  unsetenv("RAUHA_TEST_SECRET");
  EXPECT_EQ(out.rfind("/\n0022\nb .\n0\n1\n2\n", 0), 0u) << out;
  EXPECT_EQ(out.find("\n" + std::to_string(leaky.get()) + "\n"), std::string::npos) << out;
  EXPECT_NE(out.find("SigBlk:\t0000000000000000"), std::string::npos) << out;
  EXPECT_NE(out.find("SigIgn:\t0000000000000000"), std::string::npos) << out;
  EXPECT_NE(out.find("NoNewPrivs:\t1"), std::string::npos) << out;
  EXPECT_NE(out.find("/dev/null\n/dev/null\n"), std::string::npos) << out;
  EXPECT_NE(say("grep NoNewPrivs /proc/self/status", RAUHA_SPAWN_SET_USER_ID).find("NoNewPrivs:\t0"), std::string::npos);
}

TEST_F(SpawnTest, DescriptorsHaveTheNumbersThatWereAsked) {
  PluginCall call(*services, options, "backend", "zone_create");
  sdk::Call sdkCall(services->table(), call.raw());
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd readEnd(ends[0]);
  UniqueFd writeEnd(ends[1]);
  const sdk::Spawn spawn(host());
  // The targets are descriptors that this process uses for something else.
  const UniqueFd pidfd(spawn.start(sdkCall, {"/bin/sh", "-c", "echo five >&5; echo one; ls /proc/self/fd | tr '\\n' ' '"},
                                   {{writeEnd.get(), 5}, {writeEnd.get(), 1}, {readEnd.get(), 200}}));
  writeEnd.reset();
  EXPECT_EQ(readAll(readEnd.get(), "pipe"), "five\none\n0 1 2 200 3 5 ");  // 3: ls itself
  spawn.wait(sdkCall, pidfd.get());
}

TEST_F(SpawnTest, TheExecsReasonIsTold) {
  const sdk::Spawn spawn(host());
  const auto start = [&](const char* program) {
    return [&, program](rauha_call* c) {
      sdk::Call call(services->table(), c);
      return call.guard([&] { spawn.start(call, {program}); });
    };
  };
  EXPECT_EQ(failure(start("/nowhere/x"), Code::notFound), "start a helper: run /nowhere/x: No such file or directory");
  EXPECT_EQ(failure(start("/etc/passwd"), Code::denied), "start a helper: run /etc/passwd: Permission denied");
  EXPECT_EQ(failure(start("sh"), Code::invalid), "start a helper: the program \"sh\" is not an absolute path");
  EXPECT_EQ(say("exit 0"), "");  // failures do not use up the places
}

TEST_F(SpawnTest, EndsAreToldOnce) {
  const sdk::Spawn spawn(host());
  PluginCall call(*services, options, "backend", "zone_create");
  sdk::Call sdkCall(services->table(), call.raw());
  const UniqueFd killed(spawn.start(sdkCall, {"/bin/sleep", "1000"}));
  ASSERT_EQ(syscall(SYS_pidfd_send_signal, killed.get(), SIGTERM, nullptr, 0), 0);
  const rauha_spawn_end end = spawn.wait(sdkCall, killed.get());
  EXPECT_EQ(end.how, RAUHA_SPAWN_SIGNALED);
  EXPECT_EQ(end.code, uint32_t{SIGTERM});
  const auto& raw = table<rauha_spawn_v1>(RAUHA_SPAWN_V1);
  rauha_spawn_end again{sizeof again, 0, 0, 0};
  EXPECT_EQ(raw.wait(context(), call.raw(), killed.get(), &again), RAUHA_E_NOT_FOUND);
  EXPECT_EQ(raw.wait(context(), call.raw(), 900, &again), RAUHA_E_NOT_FOUND);
}

TEST_F(SpawnTest, WaitingEndsWithTheCall) {
  const sdk::Spawn spawn(host());
  PluginCall starting(*services, options, "backend", "zone_create");
  sdk::Call sdkCall(services->table(), starting.raw());
  const UniqueFd pidfd(spawn.start(sdkCall, {"/bin/sleep", "1000"}));
  const auto wait = [&](rauha_call* c) {
    rauha_spawn_end end{sizeof end, 0, 0, 0};
    return table<rauha_spawn_v1>(RAUHA_SPAWN_V1).wait(context(), c, pidfd.get(), &end);
  };
  options.deadlineNs = monotonicNs() + 50'000'000;
  EXPECT_NE(failure(wait, Code::deadline).find("did not end in time"), std::string::npos);
  options.deadlineNs = 0;
  options.cancel = std::make_shared<CancelToken>();
  std::thread cancelling([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    options.cancel->cancel();
  });
  EXPECT_EQ(failure(wait, Code::cancelled), "wait for a helper: cancelled by the caller");
  cancelling.join();
}

TEST_F(SpawnTest, WhatIsLeftIsKilledAndReapedWithThePlugin) {
  const sdk::Spawn spawn(host());
  std::vector<UniqueFd> pidfds;
  {
    PluginCall call(*services, options, "backend", "zone_create");
    sdk::Call sdkCall(services->table(), call.raw());
    for (uint32_t i = 0; i < RAUHA_SPAWN_MAX; ++i) pidfds.emplace_back(spawn.start(sdkCall, {"/bin/sleep", "1000"}));
    EXPECT_THROW(spawn.start(sdkCall, {"/bin/sleep", "1000"}), sdk::Error);
  }
  services.reset();
  for (const auto& pidfd : pidfds) EXPECT_EQ(syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0), -1);  // ESRCH: reaped
}

TEST_F(SpawnTest, RequestsAreChecked) {
  const auto& raw = table<rauha_spawn_v1>(RAUHA_SPAWN_V1);
  rauha_spawn_handle handle{sizeof handle, 0, -1, 0};
  std::vector<rauha_str> argv{str("x")}, env;
  std::vector<rauha_spawn_descriptor> fds;
  rauha_spawn_request request{};
  request.struct_size = sizeof request;
  request.program = str("/bin/true");
  const auto start = [&](rauha_call* c) {
    request.arguments = {argv.data(), static_cast<uint32_t>(argv.size()), sizeof(rauha_str)};
    request.environment = {env.data(), static_cast<uint32_t>(env.size()), sizeof(rauha_str)};
    request.descriptors = {fds.data(), static_cast<uint32_t>(fds.size()), sizeof(rauha_spawn_descriptor)};
    return raw.start(context(), c, &request, &handle);
  };
  const std::string begin = "start a helper: ";
  env = {str("novalue")};
  EXPECT_EQ(failure(start, Code::invalid), begin + "an environment entry is not NAME=value");
  env.clear();
  fds = {{sizeof(rauha_spawn_descriptor), 0, 0, 256}};
  EXPECT_EQ(failure(start, Code::invalid), begin + "descriptor number 256 is not in 0 to 255");
  fds = {{sizeof(rauha_spawn_descriptor), 0, 0, 3}, {sizeof(rauha_spawn_descriptor), 0, 0, 3}};
  EXPECT_EQ(failure(start, Code::invalid), begin + "descriptor number 3 is given twice");
  fds = {{sizeof(rauha_spawn_descriptor), 0, 901, 3}};
  EXPECT_EQ(failure(start, Code::invalid), begin + "fd_borrow 901 is not an open descriptor");
  fds.clear();
  argv = {str(std::string_view("a\0b", 3))};
  EXPECT_EQ(failure(start, Code::invalid), begin + "arguments has NUL bytes");
  argv.clear();
  EXPECT_EQ(failure(start, Code::invalid), begin + "no arguments were given: the first is the program's name");
  argv.assign(1025, str("x"));
  EXPECT_EQ(failure(start, Code::limit), begin + "1025 arguments, at most 1024");
  argv = {str("x")};
  request.flags = 4;
  EXPECT_EQ(failure(start, Code::unsupported), begin + "the request has unknown flag bits 4");
  request.flags = 0;
  handle.struct_size = 8;
  EXPECT_EQ(failure(start, Code::invalid), begin + "the handle has no room");
}

}  // namespace
}  // namespace rauha::plugin
