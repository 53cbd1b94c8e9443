#pragma once
// Threads for what blocks: plugin calls, SQLite, files. The event loop hands a function to run() and awaits its result; the function
// runs on a worker thread.
//
// Threads: run() and runSerial() are called on a thread with a KJ event loop; the function, its captures' destruction and whatever it
// throws belong to the worker, so it must capture values, never KJ objects. A result that nobody awaits any more dies on the worker too.
// Errors: a rauha::Error thrown by the function arrives whole where the promise is awaited (kj_error.h).
// Cancelling: dropping the promise is always safe. A function that has not begun is then not run; one that runs, runs to its end (pass a
// CancelToken to end it earlier). Who needs a step to happen keeps its promise.
// Giving up: a thread whose function does not return can be abandoned. Nothing is killed: its promise is rejected, another thread takes its
// place, and its key refuses calls until it returns after all. With abandoned threads the process must end by _exit(): they may still use
// what its destructors would take away.

#include <kj/async.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/base/kj_error.h"

namespace rauha {

class WorkerPool final {
 public:
  // threads: at most so many run at once; made when first needed, kept until the end. queueLimit: how many calls may wait for a thread
  // or for their key; one more is refused with Code::busy.
  WorkerPool(size_t threads, size_t queueLimit);
  // Runs what was queued and is still awaited, then joins every thread that was not abandoned.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // The promise of f()'s result. f is moved to the worker; it need not be copyable.
  template <typename F>
  auto run(F f) -> kj::Promise<std::invoke_result_t<F&>> {
    return submit(std::nullopt, std::move(f));
  }
  // As run(); calls with one key (a zone's id) run one after another in the order of these calls, whatever their results.
  template <typename F>
  auto runSerial(std::string key, F f) -> kj::Promise<std::invoke_result_t<F&>> {
    return submit(std::optional<std::string>(std::move(key)), std::move(f));
  }

  // Gives up what this thread runs: its caller, and those who wait for its key, get `why`. False: the thread is none of ours, or idle.
  // On the event loop's thread.
  bool abandon(std::thread::id thread, const Error& why);

  struct Counts {
    size_t threads, running, waiting;
    size_t abandoned = 0;  // have not returned until now
  };
  Counts counts() const;  // any thread

 private:
  struct Job {
    virtual ~Job() = default;
    virtual bool wanted() const noexcept = 0;
    virtual void run() noexcept = 0;
    virtual void fail(const Error& why) noexcept = 0;  // also while another thread is in run()
  };
  template <typename F>
  struct JobOf;
  class State;
  // ThreadSanitizer does not see how Debian's KJ, which is not instrumented, hands a result from thread to thread, and takes whatever the
  // worker did before for a race with whoever awaited it. Under it alone, this edge says the same in words that it understands.
  class HandOver {
   public:
#ifdef __SANITIZE_THREAD__
    void give() const noexcept { edge_->store(1, std::memory_order_release); }
    template <typename R>
    kj::Promise<R> taken(kj::Promise<R> promise) const {
      auto failed = [edge = edge_](kj::Exception&& e) -> R {
        (void)edge->load(std::memory_order_acquire);
        kj::throwFatalException(kj::mv(e));
      };
      if constexpr (std::is_void_v<R>) {
        return promise.then([edge = edge_] { (void)edge->load(std::memory_order_acquire); }, std::move(failed));
      } else {
        auto passed = [edge = edge_](R&& result) -> R {
          (void)edge->load(std::memory_order_acquire);
          return kj::mv(result);
        };
        return promise.then(std::move(passed), std::move(failed));
      }
    }

   private:
    std::shared_ptr<std::atomic<int>> edge_ = std::make_shared<std::atomic<int>>(0);
#else
    void give() const noexcept {}
    template <typename R>
    kj::Promise<R> taken(kj::Promise<R> promise) const {
      return kj::mv(promise);
    }
#endif
  };

  // Why it was refused, if it was.
  std::optional<Error> enqueue(const std::optional<std::string>& key, std::unique_ptr<Job> job);
  template <typename F>
  auto submit(std::optional<std::string> key, F f) -> kj::Promise<std::invoke_result_t<F&>>;

  const size_t queueLimit_;
  std::shared_ptr<State> state_;  // shared with the threads, of which an abandoned one may outlive us
};

template <typename F>
struct WorkerPool::JobOf final : Job {
  using R = std::invoke_result_t<F&>;
  JobOf(F f, kj::Own<kj::CrossThreadPromiseFulfiller<R>> done, HandOver edge)
      : function(std::in_place, std::move(f)), fulfiller(kj::mv(done)), handOver(edge) {}
  ~JobOf() noexcept override {}  // KJ's owners may throw in theory
  bool wanted() const noexcept override { return fulfiller->isWaiting(); }
  void run() noexcept override {
    try {
      if constexpr (std::is_void_v<R>) {
        (*function)();
        function.reset();
        handOver.give();
        fulfiller->fulfill();
      } else {
        R result = (*function)();
        function.reset();  // before the event loop goes on: what f held is given back when the result is seen
        handOver.give();
        fulfiller->fulfill(kj::mv(result));
      }
    } catch (...) {
      kj::Exception e = currentKj();
      function.reset();
      handOver.give();
      fulfiller->reject(kj::mv(e));
    }
  }
  void fail(const Error& why) noexcept override { fulfiller->reject(toKj(why)); }
  std::optional<F> function;
  kj::Own<kj::CrossThreadPromiseFulfiller<R>> fulfiller;
  HandOver handOver;
};

template <typename F>
auto WorkerPool::submit(std::optional<std::string> key, F f) -> kj::Promise<std::invoke_result_t<F&>> {
  auto pair = kj::newPromiseAndCrossThreadFulfiller<std::invoke_result_t<F&>>();
  const HandOver handOver;
  if (const auto refused = enqueue(key, std::make_unique<JobOf<F>>(std::move(f), kj::mv(pair.fulfiller), handOver))) return toKj(*refused);
  return handOver.taken(kj::mv(pair.promise));
}

}  // namespace rauha
