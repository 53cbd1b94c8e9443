#pragma once
// What goes with every plugin call: until when, how to give up, where progress goes.
//
// A value, made by whoever starts the call and moved to the worker with it. The token is shared: the event loop cancels, the worker looks.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "core/base/fd.h"

namespace rauha::plugin {

// A one-way switch. Thread: any. Cancelling is a request: the plugin sees it through cancelled() or a readable descriptor, and its call
// then ends with Code::cancelled.
class CancelToken final {
 public:
  CancelToken();  // throws Error of class "daemon" when no eventfd can be made
  CancelToken(const CancelToken&) = delete;
  CancelToken& operator=(const CancelToken&) = delete;
  void cancel() noexcept;
  bool cancelled() const noexcept { return cancelledNs() != 0; }
  // When (CLOCK_MONOTONIC); 0: not.
  int64_t cancelledNs() const noexcept { return cancelledNs_.load(std::memory_order_acquire); }
  // Readable once cancelled, for ever; the token's.
  int fd() const noexcept { return event_.get(); }

 private:
  std::atomic<int64_t> cancelledNs_{0};
  UniqueFd event_;
};

struct CallOptions {
  int64_t deadlineNs = 0;               // CLOCK_MONOTONIC (monotonicNs()); 0: none
  std::shared_ptr<CancelToken> cancel;  // null: the call cannot be cancelled
  // Called on any thread, while the call runs. total 0: unknown. Must not block.
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> progress;
};

}  // namespace rauha::plugin
