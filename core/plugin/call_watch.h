#pragma once
// The calls into one plugin that are in progress, and how well it kept the contract so far.
//
// Every call has a deadline; a cancel is one, too. Who overruns it by CallLimits::overrunNs is logged and counted while it still runs;
// after abandonNs it is reported as stuck, and whoever owns its worker gives that up (core/daemon/containment.h). A thread cannot be ended
// from outside without breaking the process, so the call is left alone and never killed. Thread: any.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/plugin/call.h"

namespace rauha::plugin {

struct CallLimits {
  int64_t callNs = 300'000'000'000;    // deadline of a call whose caller gives none
  int64_t createNs = 30'000'000'000;   // deadline of create, and of what moves no content (an image source's release and list)
  int64_t overrunNs = 5'000'000'000;   // beyond the deadline: logged
  int64_t abandonNs = 30'000'000'000;  // beyond the deadline: stuck
  size_t maxAbandoned = 4;             // so many stuck calls, and the plugin is not called any more
};

// As `rauha plugin list` shows it.
struct PluginHealth {
  uint64_t overruns = 0;    // calls that returned late or not at all
  uint64_t abandoned = 0;   // calls whose worker was given up
  uint64_t stuck = 0;       // of those, the ones that have not returned until now
  uint64_t violations = 0;  // breaches of the contract: no text, unknown status, lies about sizes, garbage in services
  uint64_t eventsDropped = 0;
  std::string lastViolation, lastOverrun;  // empty: none
};

// A call that nobody should wait for any longer.
struct StuckCall {
  std::string plugin, function;
  uint64_t number = 0;
  std::thread::id thread;
  int64_t lateNs = 0;  // beyond its deadline
};

class CallWatch final {
 public:
  using Warn = std::function<void(const std::string& text)>;
  // warn: where an overrun is told; called without a lock held.
  CallWatch(std::string plugin, CallLimits limits, Warn warn);

  const CallLimits& limits() const noexcept { return limits_; }
  // The call's number. Throws Error of class `errorClass` (busy) when too many calls are stuck already.
  // cancel: null when the call cannot be cancelled.
  uint64_t begin(std::string_view errorClass, std::string_view function, int64_t deadlineNs, std::shared_ptr<CancelToken> cancel = {});
  void end(uint64_t number) noexcept;
  void violation(const std::string& text, uint64_t count = 1) noexcept;
  // Warns of what is late, and gives what is stuck and was not reported before.
  std::vector<StuckCall> check(int64_t nowNs);
  // The callback that has been running since then (service thread); 0: none. Warns once per callback.
  void checkCallback(int64_t nowNs, int64_t sinceNs);
  void abandoned(uint64_t number) noexcept;
  PluginHealth health() const;

 private:
  struct Running {
    uint64_t number = 0;
    std::string function;
    int64_t byRequestNs = 0;
    std::shared_ptr<CancelToken> cancel;
    std::thread::id thread;
    int64_t deadlineNs() const noexcept {
      const int64_t cancelled = cancel == nullptr ? 0 : cancel->cancelledNs();
      return cancelled == 0 ? byRequestNs : std::min(byRequestNs, cancelled);
    }
    bool told = false, abandoned = false;
  };
  std::string tell(Running& call, int64_t nowNs);  // under the lock

  const std::string plugin_;
  const CallLimits limits_;
  const Warn warn_;
  mutable std::mutex mutex_;
  std::list<Running> running_;
  PluginHealth health_;
  uint64_t next_ = 1;
  int64_t toldCallback_ = 0;
};

}  // namespace rauha::plugin
