// What one call into an image plugin costs: in the daemon's process, and in a process of its own. The floors: a function call through a
// pointer, and 64 bytes to another process and back over a socket pair. Needs root (the process is confined as in use).

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "core/base/error.h"
#include "core/plugin/registry.h"

namespace rauha::plugin {
namespace {

class Plugins {
 public:
  explicit Plugins(bool process) {
    char name[] = "/tmp/rauha-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) throwErrno("bench", "make a directory");
    directory_ = name;
    std::filesystem::create_directories(directory_ + "/state");
    std::filesystem::copy_file(RAUHA_BENCH_PLUGIN, directory_ + "/idle-image.so");
    PluginConfig config;
    config.directories = {directory_};
    config.insecureDirectories = InsecurePluginDirectories();
    config.instance = "rauha-bench";
    config.stateDir = directory_ + "/state";
    config.runtimeDir = directory_ + "/run";
    config.libexecDir = RAUHA_BENCH_LIBEXEC;
    EnabledPlugin idle;
    idle.name = "idle-image";
    if (process) idle.isolation = defaultIsolation();
    config.enabled = {idle};
    registry_ = Registry::load(config, {});
  }
  ~Plugins() {
    registry_.reset();
    std::filesystem::remove_all(directory_);
  }
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;
  ImageSource& images() { return registry_->images(); }

 private:
  std::string directory_;
  std::unique_ptr<Registry> registry_;
};

void nothing(const void* argument) { benchmark::DoNotOptimize(argument); }

void functionCall(benchmark::State& state) {
  void (*volatile function)(const void*) = nothing;
  for (auto _ : state) function(&state);
}
BENCHMARK(functionCall)->Name("floor: function call through a pointer");

void inTheDaemon(benchmark::State& state, bool image) {
  Plugins plugins(false);
  ImageRequest request;
  request.reference = "x";
  for (auto _ : state)
    if (image)
      benchmark::DoNotOptimize(plugins.images().inspect({}, request));
    else
      plugins.images().release({}, "zone_x");
}
BENCHMARK_CAPTURE(inTheDaemon, release, false)->Name("in the daemon: release");
BENCHMARK_CAPTURE(inTheDaemon, inspect, true)->Name("in the daemon: inspect, one image back");

void socketPair(benchmark::State& state) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) throwErrno("bench", "socket pair");
  char message[64] = {};
  const pid_t child = fork();
  if (child == 0) {
    close(pair[0]);
    while (read(pair[1], message, sizeof message) > 0 && write(pair[1], message, sizeof message) > 0) {
    }
    _exit(0);
  }
  close(pair[1]);
  for (auto _ : state)
    if (write(pair[0], message, sizeof message) < 0 || read(pair[0], message, sizeof message) <= 0) state.SkipWithError("the peer is gone");
  close(pair[0]);
  waitpid(child, nullptr, 0);
}
BENCHMARK(socketPair)->Name("floor: 64 bytes over a socket pair and back")->UseRealTime();

void inAProcess(benchmark::State& state, bool image) {
  Plugins plugins(true);
  ImageRequest request;
  request.reference = "x";
  for (auto _ : state)
    if (image)
      benchmark::DoNotOptimize(plugins.images().inspect({}, request));
    else
      plugins.images().release({}, "zone_x");
}
BENCHMARK_CAPTURE(inAProcess, release, false)->Name("in a process: release")->UseRealTime();
BENCHMARK_CAPTURE(inAProcess, inspect, true)->Name("in a process: inspect, one image back")->UseRealTime();

void startOfAProcess(benchmark::State& state) {
  for (auto _ : state) Plugins plugins(true);
}
BENCHMARK(startOfAProcess)->Name("start, confine, load, end")->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(20);

}  // namespace
}  // namespace rauha::plugin

BENCHMARK_MAIN();
