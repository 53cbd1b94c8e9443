#pragma once
// A plugin call's progress, carried from whichever thread reports it to a client: the latest of each subject, at most a few times a second,
// the next only after the client has answered. What a slow client does not take is replaced by what is newer, never queued without bound.
//
// Owner: whoever waits for the call. Thread: the event loop, but for the function that start() returns, which any thread may call for as
// long as it likes (it holds on to the mailbox, not to us).

#include <kj/async.h>
#include <kj/timer.h>
#include <schemas/image.capnp.h>

#include <functional>
#include <memory>
#include <string_view>

#include "core/base/coro.h"

namespace rauha {

class ProgressRelay final {
 public:
  explicit ProgressRelay(kj::Timer& timer);
  ~ProgressRelay() noexcept(false);
  KJ_DISALLOW_COPY(ProgressRelay);

  // For CallOptions::progress.
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> start(schema::ImageProgress::Client sink);
  // Sends what is left, without waiting for the answer.
  void stop();

 private:
  struct Mailbox;
  Task<void> carry();
  kj::Promise<void> send();
  kj::Timer& timer_;
  std::shared_ptr<Mailbox> mailbox_;
  kj::Maybe<schema::ImageProgress::Client> sink_;
  kj::Promise<void> carrying_ = kj::READY_NOW;
};

}  // namespace rauha
