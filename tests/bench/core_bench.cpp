// What the daemon and the command line do within a process, by the piece: a policy read, a result as JSON, an event emitted, an id made.
// The border to plugins is plugin_call_bench's.
#include <benchmark/benchmark.h>
#include <capnp/message.h>

#include <string>

#include "core/base/digest.h"
#include "core/base/ids.h"
#include "core/evidence/event_bus.h"
#include "core/evidence/result_json.h"
#include "core/policy/policy.h"
#include "core/policy/zone_records.h"

namespace rauha {
namespace {

void builtin(benchmark::State& state, const char* name) {
  for (auto _ : state) benchmark::DoNotOptimize(policy::parsePolicy(policy::builtinPolicyToml(name), ""));
}
BENCHMARK_CAPTURE(builtin, task, "task")->Name("policy: read the built-in task");
BENCHMARK_CAPTURE(builtin, standard, "standard")->Name("policy: read the built-in standard");

void views(benchmark::State& state) {
  const policy::Policy task = policy::builtinPolicy("task");
  for (auto _ : state) benchmark::DoNotOptimize(policy::zoneView(task.get(), nullptr, nullptr));
}
BENCHMARK(views)->Name("policy: what a zone is told");

void fillEvents(schema::TaskResult::Builder result, unsigned count) {
  auto events = result.initEvents(count);
  for (unsigned i = 0; i < count; ++i) {
    evidence::Event event;
    event.sequence = i + 1;
    event.name = "zone.created";
    event.zoneId = "zone_0123456789abcdefghij";
    event.taskId = "task_0123456789abcdefghij";
    event.source = "core";
    event.message = "zone of a task stands";
    event.attributes = {{"name", "x"}, {"policy", "task"}};
    evidence::writeEvent(events[i], event);
  }
}

void resultJson(benchmark::State& state) {
  capnp::MallocMessageBuilder message;
  auto result = message.initRoot<schema::TaskResult>();
  fillEvents(result, 6);
  result.setStdout(std::string(static_cast<size_t>(state.range(0)), 'x'));
  auto layers = result.initPosture().initLayers(12);
  for (auto layer : layers) {
    layer.setName("cgroup_memory");
    layer.setArmed(true);
    layer.setDetail("v1 hybrid, 536870912 bytes");
  }
  for (auto _ : state) benchmark::DoNotOptimize(toJson(result.asReader()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(resultJson)->Name("result as JSON: bytes of output")->Arg(0)->Arg(64 << 10)->Arg(1 << 20);

void emit(benchmark::State& state) {
  evidence::EventBusOptions options;
  options.eventsPerSecond = options.burst = 1e12;  // the guard against floods is not what is measured
  evidence::EventBus bus(options);
  const auto collector = bus.collect("zone_0123456789abcdefghij");
  for (auto _ : state) {
    evidence::Event event;
    event.name = "task.started";
    event.zoneId = "zone_0123456789abcdefghij";
    event.source = "core";
    event.message = "task runs";
    event.attributes = {{"command", "/bin/true"}, {"image", "busybox"}};
    benchmark::DoNotOptimize(bus.emit(std::move(event)));
  }
}
BENCHMARK(emit)->Name("event: emit, two attributes");

void refused(benchmark::State& state) {
  evidence::EventBusOptions options;
  options.eventsPerSecond = options.burst = 1;
  evidence::EventBus bus(options);
  for (auto _ : state) {
    evidence::Event event;
    event.name = "plugin.said";
    event.source = "plugin";
    benchmark::DoNotOptimize(bus.emit(std::move(event)));
  }
}
BENCHMARK(refused)->Name("event: refused by the flood guard");

void id(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(newId("zone"));
}
BENCHMARK(id)->Name("id: a new one");

void digest(benchmark::State& state) {
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(sha256(bytes));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(digest)->Name("digest: bytes")->Arg(1 << 10)->Arg(1 << 20);

}  // namespace
}  // namespace rauha

BENCHMARK_MAIN();
