#include "core/plugin/call.h"

#include <sys/eventfd.h>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::plugin {

CancelToken::CancelToken() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throwErrno("daemon", "eventfd for a call that can be cancelled");
}

void CancelToken::cancel() noexcept {
  int64_t before = 0;
  if (!cancelledNs_.compare_exchange_strong(before, monotonicNs(), std::memory_order_acq_rel)) return;
  eventfd_write(event_.get(), 1);  // cannot fail: the counter was zero
}

}  // namespace rauha::plugin
