#include "core/evidence/event_bus.h"

#include <kj/debug.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>

#include "core/base/clock.h"
#include "core/evidence/event_clean.h"
#include "core/evidence/flood_guard.h"
#include "core/evidence/names.h"

namespace rauha::evidence {
namespace {

constexpr std::string_view kCore = "core";
constexpr int64_t kAnnounceAfterNs = 1'000'000'000;

using Shared = std::shared_ptr<const Event>;

}  // namespace

namespace detail {

// Locks are taken in the order bus, then one of these; a reader takes only its own.
struct CollectorState {
  explicit CollectorState(std::string zone) : zoneId(std::move(zone)) {}
  const std::string zoneId;
  mutable std::mutex mutex;
  std::vector<Shared> events;
  uint64_t dropped = 0;
  uint64_t seen = 0;

  void offer(const Shared& event) {
    if (event->zoneId != zoneId) return;
    const std::lock_guard lock(mutex);
    ++seen;
    const size_t room = event->source == kCore ? Collector::kCapacity : Collector::kCapacity - Collector::kReserve;
    if (events.size() < room)
      events.push_back(event);
    else
      ++dropped;
  }
  void missed(const std::string& zone) {
    if (zone != zoneId) return;
    const std::lock_guard lock(mutex);
    ++dropped;
  }
};

struct SubscriptionState {
  SubscriptionState(std::string zone, size_t room) : zoneId(std::move(zone)), capacity(std::max<size_t>(1, room)) {}
  const std::string zoneId;
  const size_t capacity;
  std::mutex mutex;
  std::deque<Shared> queue;
  uint64_t dropped = 0;
  bool waiting = false;
  kj::Own<kj::PromiseFulfiller<void>> waiter;  // the loop's only

  bool wants(const std::string& zone) const { return zoneId.empty() || zoneId == zone; }
  // Both return true when the waiter has to be woken.
  bool offer(const Shared& event) {
    if (!wants(event->zoneId)) return false;
    const std::lock_guard lock(mutex);
    if (queue.size() < capacity)
      queue.push_back(event);
    else
      ++dropped;
    return waiting;
  }
  void missed(const std::string& zone) {
    if (!wants(zone)) return;
    const std::lock_guard lock(mutex);
    ++dropped;
  }
  // On the loop.
  void wake() {
    const std::lock_guard lock(mutex);
    if (!waiting || queue.empty()) return;
    waiting = false;
    waiter->fulfill();
  }
};

struct BusState {
  explicit BusState(const EventBusOptions& o) : options(o), sequence(o.lastSequence), guard(o.eventsPerSecond, o.burst) {}

  const EventBusOptions options;
  mutable std::mutex mutex;
  uint64_t sequence;
  uint64_t emitted = 0;
  uint64_t dropped = 0;
  FloodGuard guard;
  std::deque<Shared> ring;
  std::vector<std::weak_ptr<CollectorState>> collectors;
  std::vector<std::weak_ptr<SubscriptionState>> subscriptions;
  std::atomic<uint64_t> lost{0};  // to failed allocations

  // Waking the loop from elsewhere. The fulfiller is replaced after each use; a wake that is under way is not repeated.
  std::thread::id loop;
  bool wakeSent = false;
  kj::Own<kj::CrossThreadPromiseFulfiller<void>> waker;
  kj::Promise<void> wakeTask = nullptr;

  template <typename State, typename Function>
  static void each(std::vector<std::weak_ptr<State>>& list, Function function) {
    std::erase_if(list, [&](const std::weak_ptr<State>& weak) {
      const auto state = weak.lock();
      if (state) function(*state);
      return state == nullptr;
    });
  }

  // Under the lock.
  uint64_t publish(Event event) {
    event.sequence = sequence + 1;
    const auto shared = std::make_shared<const Event>(std::move(event));
    ring.push_back(shared);
    if (ring.size() > options.ring) ring.pop_front();
    ++sequence;
    ++emitted;
    each(collectors, [&](CollectorState& c) { c.offer(shared); });
    bool wake = false;
    each(subscriptions, [&](SubscriptionState& s) { wake = s.offer(shared) || wake; });
    if (wake) wakeLoop();
    return shared->sequence;
  }
  void refuse(const Event& event) {
    ++dropped;
    each(collectors, [&](CollectorState& c) { c.missed(event.zoneId); });
    each(subscriptions, [&](SubscriptionState& s) { s.missed(event.zoneId); });
  }
  void announce(int64_t nowNs, int64_t ageNs) {
    for (const auto& flood : guard.due(nowNs, ageNs)) {
      Event event;
      event.timeNs = realNs();
      event.name = names::kEvidenceDropped;
      event.severity = Severity::warning;
      event.zoneId = flood.zoneId;
      event.source = kCore;
      event.message = "too many events from '" + flood.source + "': " + std::to_string(flood.count) + " were dropped";
      event.attributes = {{"source", flood.source}, {"count", std::to_string(flood.count)}};
      publish(std::move(event));
    }
  }
  void wakeLoop() {
    if (std::this_thread::get_id() == loop) {
      each(subscriptions, [](SubscriptionState& s) { s.wake(); });
    } else if (!wakeSent) {
      wakeSent = true;
      waker->fulfill();
    }
  }

  // On the loop, without the lock.
  kj::Promise<void> listen() {
    auto pair = kj::newPromiseAndCrossThreadFulfiller<void>();
    kj::Own<kj::CrossThreadPromiseFulfiller<void>> used;
    {
      const std::lock_guard lock(mutex);
      used = kj::mv(waker);
      waker = kj::mv(pair.fulfiller);
      wakeSent = false;
      each(subscriptions, [](SubscriptionState& s) { s.wake(); });
    }
    return pair.promise.then([this] { return listen(); });
  }
};

}  // namespace detail

Collector::Collector(std::shared_ptr<detail::CollectorState> state) : state_(std::move(state)) {}
Collector::Collector(Collector&&) noexcept = default;
Collector& Collector::operator=(Collector&&) noexcept = default;
Collector::~Collector() = default;

std::vector<Event> Collector::take() {
  std::vector<Shared> taken;
  {
    const std::lock_guard lock(state_->mutex);
    taken.swap(state_->events);
  }
  std::vector<Event> out;
  out.reserve(taken.size());
  for (const auto& event : taken) out.push_back(*event);
  return out;
}

uint64_t Collector::dropped() const {
  const std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

uint64_t Collector::seen() const {
  const std::lock_guard lock(state_->mutex);
  return state_->seen;
}

Subscription::Subscription(std::shared_ptr<detail::SubscriptionState> state) : state_(std::move(state)) {}
Subscription::Subscription(Subscription&&) noexcept = default;
Subscription& Subscription::operator=(Subscription&&) noexcept = default;
Subscription::~Subscription() = default;

kj::Promise<void> Subscription::whenReady() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  const std::lock_guard lock(state_->mutex);
  if (state_->waiting) state_->waiter->reject(KJ_EXCEPTION(FAILED, "another waiter took over"));
  state_->waiting = state_->queue.empty();
  if (!state_->waiting) return kj::READY_NOW;
  state_->waiter = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

std::vector<Event> Subscription::take(size_t max) {
  std::vector<Shared> taken;
  {
    const std::lock_guard lock(state_->mutex);
    auto& queue = state_->queue;
    const auto end = queue.begin() + static_cast<std::ptrdiff_t>(std::min(max, queue.size()));
    taken.assign(queue.begin(), end);
    queue.erase(queue.begin(), end);
  }
  std::vector<Event> out;
  out.reserve(taken.size());
  for (const auto& event : taken) out.push_back(*event);
  return out;
}

uint64_t Subscription::takeDropped() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->dropped, 0);
}

EventBus::EventBus(EventBusOptions options) : state_(std::make_unique<detail::BusState>(options)) {}

EventBus::~EventBus() {
  const std::lock_guard lock(state_->mutex);
  detail::BusState::each(state_->subscriptions, [](detail::SubscriptionState& s) {
    const std::lock_guard inner(s.mutex);
    if (std::exchange(s.waiting, false)) s.waiter->reject(KJ_EXCEPTION(DISCONNECTED, "the event bus is gone"));
  });
}

uint64_t EventBus::emit(Event event) noexcept {
  try {
    cleanEvent(event);
    if (event.timeNs == 0) event.timeNs = realNs();
    const int64_t now = monotonicNs();
    const std::lock_guard lock(state_->mutex);
    state_->announce(now, kAnnounceAfterNs);
    // Core's names are a closed set; a plugin could make up one for each event.
    if (!state_->guard.admit(event.source, event.zoneId, event.source == kCore ? event.name : std::string(), now)) {
      state_->refuse(event);
      return 0;
    }
    return state_->publish(std::move(event));
  } catch (const std::exception&) {
    state_->lost.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
}

void EventBus::flush() noexcept {
  try {
    const std::lock_guard lock(state_->mutex);
    state_->announce(monotonicNs(), 0);
  } catch (const std::exception&) {
    state_->lost.fetch_add(1, std::memory_order_relaxed);
  }
}

Collector EventBus::collect(std::string zoneId) {
  auto collector = std::make_shared<detail::CollectorState>(std::move(zoneId));
  const std::lock_guard lock(state_->mutex);
  state_->collectors.push_back(collector);
  return Collector(std::move(collector));
}

Subscription EventBus::subscribe(std::string zoneId, size_t capacity) {
  if (state_->waker.get() == nullptr) {
    state_->loop = std::this_thread::get_id();
    state_->wakeTask = state_->listen().eagerlyEvaluate(nullptr);
  }
  auto subscription = std::make_shared<detail::SubscriptionState>(std::move(zoneId), capacity);
  const std::lock_guard lock(state_->mutex);
  state_->subscriptions.push_back(subscription);
  return Subscription(std::move(subscription));
}

std::vector<Event> EventBus::recent(size_t max) const {
  const std::lock_guard lock(state_->mutex);
  const auto& ring = state_->ring;
  std::vector<Event> out;
  out.reserve(std::min(max, ring.size()));
  for (size_t i = ring.size() - std::min(max, ring.size()); i < ring.size(); ++i) out.push_back(*ring[i]);
  return out;
}

Counters EventBus::counters() const {
  const std::lock_guard lock(state_->mutex);
  return {state_->emitted, state_->dropped + state_->lost.load(std::memory_order_relaxed)};
}

}  // namespace rauha::evidence
