#pragma once
// Straight-line asynchronous code over KJ 0.9.2: a coroutine returns Task<T> and may co_await kj::Promise and Task.
//
// Why not kj::Promise as the return type: g++ 12.2 crashes on a coroutine whose return type has a throwing destructor, and
// kj::Promise has one. Ownership: the frame belongs to the promise; dropping the promise (or Task) cancels and destroys the frame.
// Thread: the event loop's only. A rauha::Error that leaves a coroutine arrives as the same Error where it is awaited (kj_error.h).
//
// WARNING: never co_await inside a condition (`if (co_await x)`): g++ 12.2 miscompiles it when the body has no local variable. Write
// `auto v = co_await x;` first. Never write a lambda, or an aggregate argument by value, inside a co_await expression: g++ 12.2 copies such
// temporaries byte by byte into the frame, and a short std::string in them then frees the wrong memory. Write
// `auto pending = workers.run([…] {…}); co_await kj::mv(pending);`. `./dev lint` looks for it. No capturing lambda as a coroutine: the
// captures die with the lambda. No KJ_CONTEXT in a coroutine.

#include <kj/async.h>
#include <kj/debug.h>

#include <coroutine>
#include <exception>

#include "core/base/kj_error.h"

namespace rauha {
namespace coro {

template <typename T>
struct Frame;

// A KJ promise must not be destroyed from inside its own continuation, and a coroutine is resumed from inside one. The promise that
// resumed us is therefore parked and freed one resumption later.
class Park {
 public:
  Park() : slots_{kj::READY_NOW, kj::READY_NOW} {}
  kj::Promise<void>& next() {
    flip_ = !flip_;
    return slots_[flip_ ? 1 : 0];
  }

 private:
  kj::Promise<void> slots_[2];
  bool flip_ = false;
};

}  // namespace coro

template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = coro::Frame<T>;
  explicit Task(kj::Promise<T>&& promise) : promise_(kj::mv(promise)) {}
  Task(Task&&) = default;
  Task& operator=(Task&&) = default;
  ~Task() noexcept {}
  operator kj::Promise<T>() && { return kj::mv(promise_); }
  kj::Promise<T> promise() && { return kj::mv(promise_); }

 private:
  kj::Promise<T> promise_;
};

namespace coro {

// What was awaited failed: an encoded rauha::Error comes out as itself.
[[noreturn]] inline void rethrow(kj::Exception&& e) {
  if (isEncodedError(e)) throw fromKj(e);
  kj::throwFatalException(kj::mv(e));
}

template <typename T>
struct Awaiter {
  Awaiter(Park& p, kj::Promise<T>&& i) : park(p), inner(kj::mv(i)), error(nullptr), value(nullptr) {}
  ~Awaiter() noexcept {}
  KJ_DISALLOW_COPY(Awaiter);
  Park& park;
  kj::Promise<T> inner;
  kj::Maybe<kj::Exception> error;
  kj::Maybe<T> value;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    auto& slot = park.next();
    slot = inner
               .then(
                   [this, h](T v) {
                     value = kj::mv(v);
                     h.resume();
                   },
                   [this, h](kj::Exception&& e) {
                     error = kj::mv(e);
                     h.resume();
                   })
               .eagerlyEvaluate(nullptr);
  }
  T await_resume() {
    KJ_IF_MAYBE (e, error) rethrow(kj::mv(*e));
    return kj::mv(KJ_ASSERT_NONNULL(value));
  }
};

template <>
struct Awaiter<void> {
  Awaiter(Park& p, kj::Promise<void>&& i) : park(p), inner(kj::mv(i)), error(nullptr) {}
  ~Awaiter() noexcept {}
  KJ_DISALLOW_COPY(Awaiter);
  Park& park;
  kj::Promise<void> inner;
  kj::Maybe<kj::Exception> error;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    auto& slot = park.next();
    slot = inner
               .then([h]() { h.resume(); },
                     [this, h](kj::Exception&& e) {
                       error = kj::mv(e);
                       h.resume();
                     })
               .eagerlyEvaluate(nullptr);
  }
  void await_resume() {
    KJ_IF_MAYBE (e, error) rethrow(kj::mv(*e));
  }
};

template <typename T>
struct FrameBase {
  Park park;
  kj::PromiseFulfiller<T>* fulfiller = nullptr;
  Task<T> get_return_object();
  std::suspend_never initial_suspend() noexcept { return {}; }
  std::suspend_always final_suspend() noexcept { return {}; }
  void unhandled_exception() { fulfiller->reject(currentKj()); }
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>&& p) {
    return Awaiter<U>(park, kj::mv(p));
  }
  template <typename U>
  Awaiter<U> await_transform(Task<U>&& t) {
    return Awaiter<U>(park, kj::mv(t).promise());
  }
};
template <typename T>
struct Frame : FrameBase<T> {
  void return_value(T v) { this->fulfiller->fulfill(kj::mv(v)); }
};
template <>
struct Frame<void> : FrameBase<void> {
  void return_void() { fulfiller->fulfill(); }
};
template <typename T>
struct Owner {
  std::coroutine_handle<Frame<T>> handle;
  Owner(kj::PromiseFulfiller<T>& f, std::coroutine_handle<Frame<T>> h) : handle(h) { h.promise().fulfiller = &f; }
  ~Owner() noexcept(false) {
    if (handle) handle.destroy();
  }
  KJ_DISALLOW_COPY(Owner);
};
template <typename T>
Task<T> FrameBase<T>::get_return_object() {
  auto h = std::coroutine_handle<Frame<T>>::from_promise(static_cast<Frame<T>&>(*this));
  return Task<T>(kj::newAdaptedPromise<T, Owner<T>>(h));
}

}  // namespace coro
}  // namespace rauha
