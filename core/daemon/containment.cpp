#include "core/daemon/containment.h"

#include <algorithm>
#include <cstdio>

#include "core/base/error.h"
#include "core/evidence/names.h"

namespace rauha {
namespace {

// Often enough that a limit is kept within a quarter of itself, and never more often than ten times a second.
kj::Duration periodFor(const plugin::CallLimits& limits) {
  const int64_t shortest = std::min(limits.overrunNs, limits.abandonNs) / 4;
  return std::clamp<int64_t>(shortest, 100'000'000, 1'000'000'000) * kj::NANOSECONDS;
}

}  // namespace

Containment::Containment(kj::Timer& timer, const plugin::Registry& registry, std::vector<WorkerPool*> pools, evidence::EventBus& events,
                         Log& log, const plugin::CallLimits& limits)
    : timer_(timer),
      registry_(registry),
      pools_(std::move(pools)),
      events_(events),
      log_(log),
      period_(periodFor(limits)),
      loop_(loop().eagerlyEvaluate(nullptr)) {}

kj::Promise<void> Containment::loop() {
  return timer_.afterDelay(period_).then([this] {
    check();
    return loop();
  });
}

void Containment::check() {
  try {
    for (const auto& call : registry_.checkCalls()) giveUp(call);
  } catch (const std::exception& e) {
    log_.error("daemon", std::string("watching the plugins' calls: ") + e.what());
  }
}

void Containment::giveUp(const plugin::StuckCall& call) {
  char late[32];
  snprintf(late, sizeof late, "%.1f s", static_cast<double>(call.lateNs) / 1e9);
  const std::string text =
      call.plugin + ": " + call.function + " did not return " + late + " after its deadline, and is not waited for any longer";
  const Error why("plugin", Code::deadline, text, "restart rauhad, and report this to the plugin's author", call.plugin);
  // First the count, so that whoever is told of the failure already finds the plugin's state.
  registry_.abandoned(call);
  for (WorkerPool* pool : pools_)
    if (pool->abandon(call.thread, why)) break;
  log_.error("plugins", text);
  evidence::Event event;
  event.name = evidence::names::kPluginCallAbandoned;
  event.severity = evidence::Severity::error;
  event.source = "core";
  event.message = text;
  event.attributes = {{"name", call.plugin}, {"function", call.function}};
  events_.emit(std::move(event));
}

}  // namespace rauha
