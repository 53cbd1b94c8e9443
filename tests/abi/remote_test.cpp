// Plugins in a process of their own (isolation = "process"), through the real rauha-plugin-host: what the process cannot do, what the
// daemon does not believe, how it dies, and what is left. Needs root; every attempt has a control that shows that it works without the
// process.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/plugin/adapters.h"
#include "core/plugin/remote/remote_plugin.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

template <typename F>
Error errorOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error("none", Code::none, "no error");
}

size_t openDescriptors() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

void touch(const std::string& path) { const UniqueFd file(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)); }

ImageRequest asking(const std::string& reference, int source = -1, const std::string& lease = {}) {
  ImageRequest request;
  request.reference = reference;
  request.sourceFd = source;
  request.lease = lease;
  return request;
}

class RemoteTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    path = fixture.install("wild-image");
    fixture.config.libexecDir = RAUHA_LIBEXEC;
    patience.firstDelayNs = 1'000'000;
    patience.overrunNs = 200'000'000;
    patience.cancelNs = 200'000'000;
  }
  // The plugin in its process. `plugin` and `images` are it.
  ImageSource& start(const std::string& toml = {}) {
    HostCallbacks callbacks;
    callbacks.log = [this](LogLevel, std::string_view, std::string_view) { ++logs; };
    callbacks.event = [this](PluginEvent&& e) {
      if (e.name == "wild.event") ++events;
      return true;
    };
    plugin = std::make_shared<RemotePlugin>(inspectPlugin(path, {256u << 20, true}, std::nullopt), fixture.config, toml, isolation,
                                            std::move(callbacks), patience);
    images = adaptImages(plugin);
    return *images;
  }
  PluginRecord record() const {
    PluginRecord out;
    plugin->describe(out);
    return out;
  }
  // errno of an attempt inside the process.
  int attempt(const std::string& name, int source = -1) {
    return static_cast<int>(images->inspect({}, asking("try:" + name, source)).info.size);
  }

  LoadedRegistry fixture;
  std::string path;
  ProcessIsolation isolation = defaultIsolation();
  RemotePatience patience;
  std::atomic<int> logs{0}, events{0};
  std::shared_ptr<RemotePlugin> plugin;
  std::unique_ptr<ImageSource> images;
};

// In a child of the test, because an attempt that works changes its process.
int controlOf(LoadedRegistry& fixture, const std::string& name, int source) {
  const pid_t child = fork();
  if (child == 0) {
    fixture.enable("wild-image");
    fixture.config.insecureDirectories = InsecurePluginDirectories();
    Registry& registry = fixture.load();
    const Error e = errorOf([&] { _exit(static_cast<int>(registry.images().inspect({}, asking("try:" + name, source)).info.size)); });
    fprintf(stderr, "%s\n", e.what());
    _exit(255);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(RemoteTest, WhatTheProcessCannotDo) {
  start();
  const std::string source = fixture.directory() + "/tree";
  std::filesystem::create_directories(source);
  touch(source + "/inside");
  touch(fixture.directory() + "/outside");
  const UniqueFd directory(open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const char* name : {"write_store", "chown_store", "stream_pair", "write_null", "private_memory", "read_source", "own_limit"})
    EXPECT_EQ(attempt(name, directory.get()), 0) << name;
  const std::string signal = "signal " + std::to_string(getpid()), environment = "environment_of " + std::to_string(getpid());
  const std::vector<std::string> refused = {"read_shadow",
                                            "write_shadow",
                                            "write_passwd",
                                            "chmod_usr",
                                            "chown_usr",
                                            "device",
                                            "mount",
                                            "userns",
                                            "netns",
                                            "fork",
                                            "execve",
                                            "ptrace",
                                            "inet",
                                            "netlink",
                                            "bpf",
                                            "keyctl",
                                            "io_uring",
                                            "perf",
                                            "handle",
                                            "climb_source",
                                            "write_source",
                                            "chmod_source",
                                            signal,
                                            environment,
                                            "unix",
                                            "datagram_pair",
                                            "chmod_null",
                                            "chmod_stdin",
                                            "chmod_self",
                                            "write_self",
                                            "shared_memory",
                                            "memfd",
                                            "zero",
                                            "inotify",
                                            "lease",
                                            "limit_of_supervisor",
                                            "affinity_of_supervisor"};
  for (const auto& name : refused) EXPECT_NE(attempt(name, directory.get()), 0) << name;
  for (const char* name : {"chmod_null", "chmod_stdin", "chmod_self", "chmod_source"})
    EXPECT_EQ(attempt(name, directory.get()), EROFS) << name << ": refused for the mount, not for want of the file";
  images.reset();
  plugin.reset();
  // The same attempts by the same plugin in the daemon's process: each gets through, so that the refusals above mean something.
  for (const auto& name : refused) EXPECT_EQ(controlOf(fixture, name, directory.get()), 0) << "control of " << name;
}

TEST_F(RemoteTest, WhatTheDaemonDoesNotBelieve) {
  ImageSource& source = start();
  const auto textOf = [&](const std::string& reference) {
    return errorOf([&] { source.resolve({}, asking(reference, -1, "zone_x")); }).text();
  };
  const ResolvedImage good = source.resolve({}, asking("good", -1, "zone_x"));
  ASSERT_EQ(good.layers.size(), 1u);
  EXPECT_TRUE(good.layers[0].directory) << "what was checked is what will be mounted";
  EXPECT_EQ(source.inspect({}, asking("good")).layers[0].path, plugin->store() + "/layer");
  EXPECT_NE(textOf("outside").find("/etc is not in the plugin's directory"), std::string::npos) << textOf("outside");
  EXPECT_NE(textOf("climbs").find("is not an absolute path without \"..\""), std::string::npos) << textOf("climbs");
  EXPECT_NE(textOf("link").find("open layer"), std::string::npos) << textOf("link");
  EXPECT_NE(textOf("own_descriptor").find("is not the request's source"), std::string::npos) << textOf("own_descriptor");
  EXPECT_NE(textOf("many").find("129 layers, at most 128"), std::string::npos) << textOf("many");
  EXPECT_NE(textOf("bind_outside").find("binds /etc/shadow, which its process may not read"), std::string::npos) << textOf("bind_outside");
  EXPECT_NE(textOf("bind_climbs").find("\"..\""), std::string::npos) << textOf("bind_climbs");
  EXPECT_EQ(source.resolve({}, asking("bind_usr")).mounts.size(), 1u);
  EXPECT_EQ(record().restarts, 0u) << "a refused answer ends nothing";
}

TEST_F(RemoteTest, TheSourceComesBackAsItself) {
  ImageSource& source = start();
  const UniqueFd directory(open(fixture.directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const ResolvedImage image = source.resolve({}, asking("source", directory.get()));
  struct stat mine {
  }, theirs{};
  ASSERT_EQ(image.layers.size(), 1u);
  fstat(directory.get(), &mine);
  fstat(image.layers[0].directory.get(), &theirs);
  EXPECT_EQ(mine.st_ino, theirs.st_ino);
}

TEST_F(RemoteTest, ErrorsProgressAndCancelCross) {
  ImageSource& source = start();
  const Error own = errorOf([&] { source.remove({}, "x"); });
  EXPECT_EQ(own.code(), Code::internal);
  EXPECT_EQ(own.text(), "a status of its own (wild-image status 1234)");
  std::string progress;
  CallOptions options;
  options.cancel = std::make_shared<CancelToken>();
  options.progress = [&](std::string_view what, uint64_t done, uint64_t total) {
    progress = std::string(what) + std::to_string(done) + std::to_string(total);
    options.cancel->cancel();
  };
  const Error cancelled = errorOf([&] { source.resolve(options, asking("patient")); });
  EXPECT_EQ(progress, "waiting12");
  EXPECT_EQ(cancelled.code(), Code::cancelled);
  EXPECT_EQ(cancelled.text(), "gave up when told");
}

struct End {
  const char* what;
  const char* how;
};
class RemoteEnds : public RemoteTest, public testing::WithParamInterface<End> {};

TEST_P(RemoteEnds, AreErrorsOfTheCallAndTheNextOneStartsAgain) {
  ImageSource& source = start();
  const pid_t first = record().pid;
  CallOptions options;
  if (std::string(GetParam().what) == "hang") options.deadlineNs = monotonicNs() + 50'000'000;
  const Error e = errorOf([&] { source.resolve(options, asking(GetParam().what)); });
  EXPECT_EQ(e.code(), Code::internal);
  EXPECT_NE(e.text().find(GetParam().how), std::string::npos) << e.text();
  EXPECT_NE(e.text().find("plugin wild-image"), std::string::npos) << e.text();
  EXPECT_NE(e.text().find("during resolve"), std::string::npos) << e.text();
  EXPECT_FALSE(e.hint().empty());
  EXPECT_EQ(source.resolve({}, asking("good")).layers.size(), 1u);
  EXPECT_EQ(record().restarts, 1u);
  EXPECT_NE(record().pid, first);
  EXPECT_NE(record().lastEnd.find(GetParam().how), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Each, RemoteEnds,
                         testing::Values(End{"segv", "ended by SIGSEGV"}, End{"abort", "ended by SIGABRT"},
                                         End{"exit", "exited with status 3"}, End{"hang", "after the deadline of resolve"}),
                         [](const auto& each) { return std::string(each.param.what); });

TEST_F(RemoteTest, ACallThatIgnoresItsCancelIsEnded) {
  ImageSource& source = start();
  CallOptions options;
  options.cancel = std::make_shared<CancelToken>();
  options.progress = [&](std::string_view, uint64_t, uint64_t) { options.cancel->cancel(); };
  const Error e = errorOf([&] { source.resolve(options, asking("hang")); });
  EXPECT_NE(e.text().find("after resolve was cancelled"), std::string::npos) << e.text();
}

TEST_F(RemoteTest, AnEndFailsTheCallsThatRun) {
  ImageSource& source = start();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0}, hanging{0};
  CallOptions options;
  options.progress = [&](std::string_view, uint64_t, uint64_t) { ++hanging; };
  threads.reserve(3);
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      if (errorOf([&] { source.resolve(options, asking("hang")); }).text().find("ended by SIGKILL") != std::string::npos) ++failed;
    });
  while (hanging < 3) usleep(1000);
  kill(record().pid, SIGKILL);
  for (auto& t : threads) t.join();
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(record().lastEnd, "ended by SIGKILL");
}

TEST_F(RemoteTest, LeasesThatLiveAreTold) {
  ImageSource& source = start();
  source.reconcile({}, {"zone_a", "zone_b"});
  source.resolve({}, asking("good", -1, "zone_c"));
  source.release({}, "zone_a");
  errorOf([&] { source.resolve({}, asking("segv", -1, "zone_d")); });
  std::vector<std::string> told;
  for (const auto& image : source.list({})) told.push_back(image.info.reference);
  EXPECT_EQ(told, (std::vector<std::string>{"lease:zone_b", "lease:zone_c"}));
  errorOf([&] { source.resolve({}, asking("segv")); });
  EXPECT_NO_THROW(source.release({}, "zone_b")) << "nobody runs: its next start will not know the lease";
  EXPECT_EQ(record().restarts, 1u) << "and was not started for that";
}

TEST_F(RemoteTest, StartsAreBounded) {
  patience.maxEnds = 3;
  ImageSource& source = start();
  for (int i = 0; i < 3; ++i) errorOf([&] { source.resolve({}, asking("exit")); });
  const Error e = errorOf([&] { source.resolve({}, asking("good")); });
  EXPECT_EQ(e.code(), Code::busy);
  EXPECT_NE(e.text().find("ended 3 times within 600 s, the last one exited with status 3"), std::string::npos) << e.text();
  EXPECT_EQ(record().pid, 0);
  EXPECT_EQ(record().restarts, 2u);
}

TEST_F(RemoteTest, MemoryIsBounded) {
  isolation.memoryBytes = 128u << 20;
  ImageSource& source = start();
  const Error e = errorOf([&] { source.resolve({}, asking("memory")); });
  EXPECT_NE(e.code(), Code::none);
  EXPECT_EQ(source.resolve({}, asking("good")).layers.size(), 1u);
}

TEST_F(RemoteTest, FloodsAreDropped) {
  ImageSource& source = start();
  source.resolve({}, asking("log_flood"));
  source.resolve({}, asking("event_flood"));
  EXPECT_EQ(source.resolve({}, asking("good")).layers.size(), 1u);
  EXPECT_LT(logs, 1000);
  EXPECT_LE(events, 5000);
  EXPECT_EQ(record().restarts, 0u);
}

TEST_F(RemoteTest, LoadingThatFailsRefusesThePlugin) {
  EXPECT_EQ(errorOf([&] { start("refuse = true\n"); }).text(), "the configuration says refuse");
  EXPECT_NE(errorOf([&] { start("die = true\n"); }).text().find("ended by SIGABRT during its start"), std::string::npos);
  patience.startNs = 300'000'000;
  EXPECT_NE(errorOf([&] { start("sleep = true\n"); }).text().find("did not load the plugin within"), std::string::npos);
  fixture.config.libexecDir = "/nowhere";
  const Error missing = errorOf([&] { start(); });
  EXPECT_NE(missing.text().find("/nowhere/rauha-plugin-host"), std::string::npos) << missing.text();
}

TEST_F(RemoteTest, ALayerThatCannotBeArmedRefusesThePlugin) {
  std::filesystem::create_directories(fixture.directory() + "/run");
  fixture.config.runtimeDir = "relative";
  const Error e = errorOf([&] { start(); });
  EXPECT_NE(e.text().find("plugin wild-image"), std::string::npos) << e.text();
  EXPECT_NE(e.text().find("relative"), std::string::npos) << e.text();
}

// The daemon's end of the socket, against a plugin that has found its own: lost, garbage.
TEST_F(RemoteTest, AnAbusedConnectionIsAnErrorOfTheCall) {
  ImageSource& source = start();
  source.resolve({}, asking("good"));
  const size_t before = openDescriptors();
  for (const char* how : {"socket_closed", "socket_garbage"}) {
    const Error e = errorOf([&] { source.resolve({}, asking(how)); });
    // Our own library in it leaves when the connection is closed; whoever stays is killed.
    const bool left = e.text().find("exited with status 0 during resolve") != std::string::npos;
    EXPECT_TRUE(left || e.text().find("broke off its connection, and was killed during resolve") != std::string::npos)
        << how << ": " << e.text();
    EXPECT_EQ(source.resolve({}, asking("good")).layers.size(), 1u);
  }
  // Two hundred messages with two hundred and fifty descriptors each: none is kept, whatever becomes of the messages.
  errorOf([&] { source.resolve({}, asking("socket_descriptors")); });
  EXPECT_EQ(source.resolve({}, asking("good")).layers.size(), 1u);
  EXPECT_EQ(openDescriptors(), before);
}

TEST_F(RemoteTest, TheNetworkIsGivenOnlyWhenItIsAsked) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(listener.get(), 8), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  const std::string connect = "connect " + std::to_string(ntohs(at.sin_port));
  const auto told = [&](const char* words) {
    const auto lines = record().confinement;
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) { return line.find(words) != std::string::npos; });
  };
  start();
  EXPECT_NE(attempt(connect), 0);
  EXPECT_TRUE(told("network (empty)"));
  images.reset();
  plugin.reset();
  isolation.network = true;
  start();
  EXPECT_EQ(attempt(connect), 0) << "the control: the same attempt, with the network";
  EXPECT_EQ(attempt("netlink"), 0) << "names are looked up with it";
  EXPECT_TRUE(told("the host's network"));
  for (const char* name : {"unix", "datagram_pair", "netns", "fork", "bpf", "read_shadow"})
    EXPECT_NE(attempt(name), 0) << "the network is all that is given: " << name;
}

TEST_F(RemoteTest, ADeviceIsNoSource) {
  ImageSource& source = start();
  const UniqueFd device(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(errorOf([&] { source.resolve({}, asking("good", device.get())); }).text(), "the image's source is a device");
}

TEST_F(RemoteTest, NothingIsLeft) {
  start();
  images->resolve({}, asking("good"));
  const size_t before = openDescriptors();
  for (int i = 0; i < 20; ++i) {
    images->resolve({}, asking("good"));
    images->inspect({}, asking("try:stream_pair"));
  }
  EXPECT_EQ(openDescriptors(), before);
  errorOf([&] { images->resolve({}, asking("segv")); });
  images->resolve({}, asking("good"));
  EXPECT_EQ(openDescriptors(), before) << "an end and a start";
  const pid_t pid = record().pid;
  images.reset();
  plugin.reset();
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  siginfo_t info{};
  EXPECT_EQ(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), -1) << "no zombie";
}

class HostileHost : public RemoteTest, public testing::WithParamInterface<const char*> {};

// A program in the place of rauha-plugin-host that breaks the protocol. Whatever comes, the daemon gives an error in bounded time.
TEST_P(HostileHost, IsAnError) {
  std::filesystem::create_directories(fixture.directory() + "/libexec");
  fixture.config.libexecDir = fixture.directory() + "/libexec";
  std::filesystem::copy_file(RAUHA_FAKE_PLUGIN_HOST, fixture.directory() + "/libexec/rauha-plugin-host");
  touch(fixture.directory() + "/libexec/" + GetParam());
  patience.startNs = 3'000'000'000;
  const size_t before = openDescriptors();
  const int64_t began = monotonicNs();
  const Error e = errorOf([&] { start(); });
  EXPECT_NE(e.code(), Code::none);
  EXPECT_FALSE(e.text().empty());
  EXPECT_LT(monotonicNs() - began, 60'000'000'000);
  EXPECT_LE(openDescriptors(), before) << e.text();
}
INSTANTIATE_TEST_SUITE_P(Each, HostileHost,
                         testing::Values("silent", "exits", "noise", "zeros", "huge", "segments", "half", "calls_without_reading",
                                         "closes"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace rauha::plugin
