#include "core/zone/zone_pool.h"

#include <kj/vector.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/ids.h"

namespace rauha {
namespace {

// Making one takes as much of a processor as the start that it serves. A task that is over sooner than this nudges; one that is not has
// its command running by then.
constexpr int64_t kRefillNs = 20'000'000;
constexpr int64_t kAfterFailureNs = 5'000'000'000;
// A task that gets one which is still being made must not wait long for it.
constexpr int64_t kPrepareNs = 3'000'000'000;
constexpr int kRemovals = 6;

}  // namespace

ZonePool::Id::~Id() noexcept {
  if (prepared_) pool_->giveBack(std::move(id_));
}

ZonePool::ZonePool(kj::Timer& timer, WorkerPool& workers, plugin::Backend& backend, std::function<plugin::CallOptions()> callOptions,
                   std::function<void(const std::string&, const std::string&)> problem)
    : timer_(timer),
      workers_(workers),
      backend_(backend),
      callOptions_(std::move(callOptions)),
      problem_(std::move(problem)),
      tasks_(*this) {}

ZonePool::Id ZonePool::fresh() { return {*this, newId("zone"), false}; }

ZonePool::Id ZonePool::take() {
  if (settings_.size == 0 || closed_ || refused_) return fresh();
  takenNs_ = monotonicNs();
  refillNs_ = std::max(refillNs_, takenNs_ + kRefillNs);
  if (!std::exchange(tending_, true)) tasks_.add(tend().promise());
  if (waiting_.empty()) return fresh();
  std::string id = std::move(waiting_.front());
  waiting_.pop_front();
  return {*this, std::move(id), true};
}

void ZonePool::nudge() noexcept {
  // After a failure it waits its time.
  if (waiting_.size() >= settings_.size || refillNs_ > monotonicNs() + kRefillNs) return;
  refillNs_ = 0;
  if (wake_.get() != nullptr) wake_->fulfill();
}

kj::Promise<void> ZonePool::woken() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  wake_ = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

Task<void> ZonePool::tend() {
  const Defer over([this] { tending_ = false; });
  while (!closed_ && !refused_) {
    const int64_t now = monotonicNs();
    int64_t until = takenNs_ + settings_.idleNs;
    if (now >= until) {
      if (waiting_.empty()) break;
      std::string id = std::move(waiting_.front());
      waiting_.pop_front();
      co_await remove(std::move(id));  // one by one: who needs a worker now goes first
      continue;
    }
    if (waiting_.size() < settings_.size) {
      if (now >= refillNs_) {
        co_await make();
        continue;
      }
      until = std::min(until, refillNs_);
    }
    auto pause = woken().exclusiveJoin(timer_.afterDelay((until - now) * kj::NANOSECONDS));
    co_await kj::mv(pause);
  }
}

Task<void> ZonePool::make() {
  plugin::ZoneSpec spec;
  spec.id = newId("zone");
  spec.hostname = spec.id;
  spec.ephemeral = true;
  const std::string id = spec.id;
  making_ = std::make_shared<plugin::CancelToken>();
  plugin::CallOptions options = callOptions_();
  options.cancel = making_;
  options.deadlineNs = std::min(options.deadlineNs, monotonicNs() + kPrepareNs);
  waiting_.push_back(id);  // who takes it already now waits for it among the zone's calls
  std::optional<Error> failure;
  try {
    auto preparing = workers_.runSerial(id, [&backend = backend_, options, spec] { backend.prepareZone(options, spec); });
    co_await kj::mv(preparing);
  } catch (...) {
    failure = currentError("zone");
  }
  if (!failure) co_return;
  std::erase(waiting_, id);
  refillNs_ = monotonicNs() + kAfterFailureNs;
  if (failure->code() == Code::unsupported) refused_ = true;
  // Where there is no room, tasks say so.
  if (failure->code() != Code::unsupported && failure->code() != Code::limit && !closed_)
    problem_("preparing a zone's boundary", failure->text());
}

// What cannot be removed after all is found when the daemon starts again.
Task<void> ZonePool::remove(std::string id) {
  auto over = kj::newPromiseAndFulfiller<void>();
  removing_.emplace(id, over.promise.fork());
  const Defer ended([&] {
    removing_.erase(id);
    over.fulfiller->fulfill();
  });
  std::string reason;
  kj::Duration pause = 500 * kj::MILLISECONDS;
  for (int i = 0; i < kRemovals; ++i) {
    try {
      auto removing = workers_.runSerial(id, [&backend = backend_, options = callOptions_(), id] { backend.destroyZone(options, id); });
      co_await kj::mv(removing);
      co_return;
    } catch (...) {
      reason = currentError("zone").text();
    }
    if (closed_) break;
    co_await timer_.afterDelay(pause);
    pause *= 2;
  }
  problem_("removing a boundary that no task needed", id + ": " + reason);
}

void ZonePool::giveBack(std::string id) { tasks_.add(remove(std::move(id)).promise()); }

void ZonePool::giveBackAll() {
  while (!waiting_.empty()) {
    giveBack(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

kj::Promise<void> ZonePool::empty() {
  giveBackAll();
  refillNs_ = monotonicNs() + kAfterFailureNs;
  kj::Vector<kj::Promise<void>> going;
  for (auto& [id, over] : removing_) going.add(over.addBranch());
  return kj::joinPromises(going.releaseAsArray());
}

void ZonePool::stop() {
  closed_ = true;
  if (making_ != nullptr) making_->cancel();
  giveBackAll();  // after what is being made, if it is among them: a zone's calls keep their order
  if (wake_.get() != nullptr) wake_->fulfill();
}

kj::Promise<void> ZonePool::close() {
  stop();
  return tasks_.onEmpty();
}

void ZonePool::taskFailed(kj::Exception&& exception) { problem_("keeping prepared boundaries", fromKj(exception).text()); }

}  // namespace rauha
