#include "core/daemon/event_log.h"

#include "core/base/error.h"
#include "core/evidence/names.h"

namespace rauha {
namespace {
constexpr size_t kKeptEvents = 100'000;
constexpr size_t kPruneEvery = 1'000;

LogLevel levelOf(evidence::Severity severity) {
  switch (severity) {
    case evidence::Severity::debug:
      return LogLevel::debug;
    case evidence::Severity::info:
    case evidence::Severity::notice:
      return LogLevel::info;
    case evidence::Severity::warning:
      return LogLevel::warning;
    case evidence::Severity::error:
      return LogLevel::error;
  }
  return LogLevel::error;
}
}  // namespace

EventLog::EventLog(evidence::EventBus& bus, store::Store& store, Log& log, kj::Timer& timer)
    : bus_(bus), store_(store), log_(log), timer_(timer), subscription_(bus.subscribe("", 8192)), loop_(nullptr) {
  loop_ = loop().eagerlyEvaluate(nullptr);
}

kj::Promise<void> EventLog::loop() {
  // 20 ms of gathering: one transaction for a whole task's events, off its critical path.
  return subscription_.whenReady().then([this] { return timer_.afterDelay(20 * kj::MILLISECONDS); }).then([this] {
    flush();
    return loop();
  });
}

void EventLog::flush() {
  for (;;) {
    const auto events = subscription_.take(1024);
    if (events.empty()) break;
    write(events);
  }
  if (const uint64_t dropped = subscription_.takeDropped(); dropped > 0)
    log_.warning("evidence", std::to_string(dropped) + " events did not reach the log");
}

void EventLog::write(const std::vector<evidence::Event>& events) {
  for (const auto& event : events)
    log_.write(levelOf(event.severity), event.source,
               event.name + (event.zoneId.empty() ? "" : " " + event.zoneId) + (event.taskId.empty() ? "" : " " + event.taskId) + ": " +
                   event.message);
  try {
    store_.appendEvents(events);
    sincePrune_ += events.size();
    if (sincePrune_ >= kPruneEvery) {
      sincePrune_ = 0;
      store_.pruneEvents(kKeptEvents);
    }
    failed_ = 0;
  } catch (const Error& e) {
    failed_ += events.size();
    log_.error("evidence", std::to_string(failed_) + " events are not in the store: " + e.text());
  }
}

}  // namespace rauha
