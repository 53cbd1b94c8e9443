#pragma once
// Where all evidence passes: numbers each event, hands it to the tasks that collect and the clients that watch, keeps the latest.
//
// Owner: the daemon; outlives everything that emits. emit() may be called from any thread and never blocks on a reader: every queue is
// bounded, and what does not fit is counted where it is missing (Collector::dropped, Subscription::takeDropped, counters()).
// Sequence numbers have no holes. What the flood guard refuses gets no number; an event "evidence.dropped" tells how many, of whom.
// Collector may be used on any thread, Subscription on the event loop's only (it wakes promises). Both may outlive the bus.

#include <kj/async.h>
#include <schemas/event.capnp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/evidence/event.h"

namespace rauha::evidence {

struct EventBusOptions {
  uint64_t lastSequence = 0;  // of the store: numbers go on after it
  size_t ring = 1024;         // latest events kept for recent()
  // Flood guard: a token bucket for each (source, zone), for core also each name, so that one zone's flood does not hide another's events.
  double eventsPerSecond = 200;
  double burst = 400;
};

struct Counters {
  uint64_t emitted = 0;  // got a number
  uint64_t dropped = 0;  // refused by the flood guard
};

namespace detail {
struct CollectorState;
struct SubscriptionState;
struct BusState;
}  // namespace detail

// The events of one zone while a task runs. Keeps at most kCapacity; the last kReserve places are only for core's events, so that a
// plugin's chatter cannot push out how the task ended. Dropping the Collector ends the collection.
class Collector final {
 public:
  static constexpr size_t kCapacity = 256;
  static constexpr size_t kReserve = 32;
  Collector(Collector&&) noexcept;
  Collector& operator=(Collector&&) noexcept;
  ~Collector();
  // What was collected so far, in order; the Collector is empty after it and goes on.
  std::vector<Event> take();
  // Events of this zone that are in no take(): no room, or the flood guard.
  uint64_t dropped() const;
  // Events of this zone that got a number since the collection began.
  uint64_t seen() const;

 private:
  friend class EventBus;
  explicit Collector(std::shared_ptr<detail::CollectorState> state);
  std::shared_ptr<detail::CollectorState> state_;
};

// A live stream, from its making on.
class Subscription final {
 public:
  Subscription(Subscription&&) noexcept;
  Subscription& operator=(Subscription&&) noexcept;
  ~Subscription();
  // Resolves when take() would return something. One waiter at a time: a second call rejects the first's promise.
  kj::Promise<void> whenReady();
  // Up to `max` events, oldest first; empty: nothing is waiting.
  std::vector<Event> take(size_t max);
  // Events that did not fit since the last call.
  uint64_t takeDropped();

 private:
  friend class EventBus;
  explicit Subscription(std::shared_ptr<detail::SubscriptionState> state);
  std::shared_ptr<detail::SubscriptionState> state_;
};

class EventBus final {
 public:
  explicit EventBus(EventBusOptions options = {});
  ~EventBus();  // on the event loop, when subscribe() was ever called; waiting subscribers are rejected
  EventBus(const EventBus&) = delete;
  EventBus& operator=(const EventBus&) = delete;

  // [any thread] Completes the event (number, time) and passes it on; returns its number, 0 when the flood guard refused it. Texts are
  // made UTF-8, one line and bounded (message 1 KiB, 32 attributes of 4 KiB, 8 KiB together). A name that is none becomes
  // "evidence.malformed" and is kept as attribute. Only an allocation failure is lost: never throws.
  uint64_t emit(Event event) noexcept;
  // [any thread] Announces what the flood guard refused so far; otherwise told a second after a flood began, with the next event.
  void flush() noexcept;

  // [any thread] From now on, the events of this zone.
  Collector collect(std::string zoneId);
  // [event loop] zoneId empty: all. capacity: events that wait for a slow reader.
  Subscription subscribe(std::string zoneId, size_t capacity = 1024);
  // [any thread] The latest ones, oldest first.
  std::vector<Event> recent(size_t max) const;
  // [any thread]
  Counters counters() const;

 private:
  std::unique_ptr<detail::BusState> state_;
};

// The wire form; empty texts become absent.
void writeEvent(schema::Event::Builder out, const Event& event);

}  // namespace rauha::evidence
