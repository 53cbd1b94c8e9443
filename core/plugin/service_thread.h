#pragma once
// The service thread of one plugin: its timers and watched descriptors ("rauha.timer/1", "rauha.watch/1").
//
// One thread per plugin, made with the first timer or watch: callbacks of one plugin never overlap, and one that hangs holds up nobody
// else. Callbacks are called with no lock held. Owner: HostServices. Thread: any. Errors: rauha::Error of class "plugin".

#include <rauha/service_timer.h>
#include <rauha/service_watch.h>

#include <cstdint>
#include <memory>

namespace rauha::plugin {

class ServiceThread final {
 public:
  ServiceThread();
  // Ends the thread. A callback that hangs is waited for during a short while and then left alone with its thread.
  ~ServiceThread();
  ServiceThread(const ServiceThread&) = delete;
  ServiceThread& operator=(const ServiceThread&) = delete;

  // The number is written before the first callback. Requests are checked by the caller; LIMIT and what the kernel refuses is thrown.
  void start(const rauha_timer_request& request, uint64_t* number);
  void add(const rauha_watch_request& request, uint64_t* number);
  // Waits for a callback that runs, unless called on the service thread.
  void cancelTimer(uint64_t number) noexcept;
  void removeWatch(uint64_t number) noexcept;
  // No callback begins any more. What runs is waited for as in the destructor.
  void stop() noexcept;
  // Since when the callback that runs now has been running (CLOCK_MONOTONIC); 0: none runs.
  int64_t callbackSinceNs() const noexcept;

 private:
  class State;
  std::shared_ptr<State> state_;  // shared with the thread, which may outlive us
};

}  // namespace rauha::plugin
