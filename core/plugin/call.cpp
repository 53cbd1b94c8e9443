#include "core/plugin/call.h"

#include <sys/eventfd.h>

#include "core/base/error.h"

namespace rauha::plugin {

CancelToken::CancelToken() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throwErrno("daemon", "eventfd for a call that can be cancelled");
}

void CancelToken::cancel() noexcept {
  if (cancelled_.exchange(true, std::memory_order_acq_rel)) return;
  eventfd_write(event_.get(), 1);  // cannot fail: the counter was zero
}

}  // namespace rauha::plugin
