#pragma once
// A worker's call that may never return, because what it asks belongs to somebody else: a file system that a client serves itself.
//
// The caller gets `late` after `patience`. A call that runs by then is given up: its thread is left alone, another one takes its place
// (WorkerPool::abandon), and what waits for the same key is refused with `late` at once until it returns after all. One whose turn has not
// come is just not waited for. f must own what it uses (values, duplicated descriptors): it may outlive the caller.
// Thread: the event loop's.

#include <kj/timer.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/worker_pool.h"

namespace rauha {

// Which thread runs the call, while it does. The lock keeps it there until it has been given up, or not.
class BoundedCall final {
 public:
  void enter() {
    const std::lock_guard lock(mutex_);
    thread_ = std::this_thread::get_id();
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    thread_.reset();
  }
  void giveUp(WorkerPool& workers, const Error& why) {
    const std::lock_guard lock(mutex_);
    if (thread_) workers.abandon(*thread_, why);
  }

 private:
  std::mutex mutex_;
  std::optional<std::thread::id> thread_;
};

template <typename F>
auto runBounded(WorkerPool& workers, kj::Timer& timer, kj::Duration patience, std::string key, Error late, F f)
    -> kj::Promise<std::invoke_result_t<F&>> {
  using R = std::invoke_result_t<F&>;
  auto call = std::make_shared<BoundedCall>();
  auto promise = workers.runSerial(std::move(key), [call, f = std::move(f)]() mutable -> R {
    call->enter();
    struct Leave {
      BoundedCall& call;
      ~Leave() { call.leave(); }
    } const leave{*call};
    return f();
  });
  auto over = timer.afterDelay(patience).then([&workers, call, late = std::move(late)]() -> kj::Promise<R> {
    call->giveUp(workers, late);
    return toKj(late);
  });
  return promise.exclusiveJoin(kj::mv(over));
}

}  // namespace rauha
