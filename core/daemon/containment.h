#pragma once
// Watches the calls into plugins: what is late is told (core/plugin/call_watch.h), what is stuck loses its worker.
//
// A stuck call is never killed: a thread cannot be ended from outside without breaking the process. Its caller gets an error, so that the
// zone goes to `failed` and can be named; another thread takes the worker's place; the plugin's next calls are refused once too many are
// stuck. Owner: the daemon. Thread: the event loop.

#include <kj/async.h>
#include <kj/timer.h>

#include <vector>

#include "core/base/log.h"
#include "core/base/worker_pool.h"
#include "core/evidence/event_bus.h"
#include "core/plugin/registry.h"

namespace rauha {

class Containment final {
 public:
  // All references outlive this. limits: as given to the registry.
  Containment(kj::Timer& timer, const plugin::Registry& registry, std::vector<WorkerPool*> pools, evidence::EventBus& events, Log& log,
              const plugin::CallLimits& limits);

 private:
  kj::Promise<void> loop();
  void check();
  void giveUp(const plugin::StuckCall& call);

  kj::Timer& timer_;
  const plugin::Registry& registry_;
  const std::vector<WorkerPool*> pools_;
  evidence::EventBus& events_;
  Log& log_;
  const kj::Duration period_;
  kj::Promise<void> loop_;
};

}  // namespace rauha
