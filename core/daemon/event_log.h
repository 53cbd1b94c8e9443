#pragma once
// Carries events from the bus to the store and the log, so that evidence outlives the daemon. Batches what comes in one turn of the loop.
// A store that fails is told once (evidence.store_failed) and counted. Thread: the event loop.

#include <kj/async.h>
#include <kj/timer.h>

#include "core/base/log.h"
#include "core/evidence/event_bus.h"
#include "core/store/store.h"

namespace rauha {

class EventLog final {
 public:
  EventLog(evidence::EventBus& bus, store::Store& store, Log& log, kj::Timer& timer);
  // Writes what is waiting; at the end of the daemon.
  void flush();

 private:
  kj::Promise<void> loop();
  void write(const std::vector<evidence::Event>& events);
  evidence::EventBus& bus_;
  store::Store& store_;
  Log& log_;
  kj::Timer& timer_;
  evidence::Subscription subscription_;
  uint64_t failed_ = 0;
  size_t sincePrune_ = 0;
  kj::Promise<void> loop_;
};

}  // namespace rauha
