#pragma once
// What flows between a process and whoever watches it. Output is always read, so that a process is never blocked for want of a reader:
// before anybody attaches the first kKept bytes of a stream are kept for him, the rest is dropped; after a sink failed everything is
// dropped. While a sink works, its answers are the flow control: then, and only then, a full pipe slows the process.
//
// KJ, event loop's thread. Descriptors are non-blocking and owned here.

#include <schemas/common.capnp.h>

#include <kj/async-unix.h>
#include <kj/function.h>
#include <kj/timer.h>

#include <memory>
#include <string>

#include "core/base/coro.h"
#include "core/base/fd.h"

namespace rauha::agent {

struct Loop {
  kj::UnixEventPort& port;
  kj::Timer& timer;
};

inline constexpr size_t kChunk = 64 * 1024;
inline constexpr size_t kKept = 256 * 1024;

// One stream out of a process. Lives until the pipe's last writer is gone or it is destroyed.
class OutputPump final {
 public:
  OutputPump(Loop loop, UniqueFd fd);
  KJ_DISALLOW_COPY(OutputPump);
  // At most once; a further sink replaces a failed one.
  void attach(schema::ByteSink::Client sink);
  // Makes a host user the owner of the pipe.
  void giveTo(uint32_t uid, uint32_t gid);
  // The process is dead: resolves when what it wrote has been delivered (or kept, or dropped) and the sink was ended. Descendants that hold
  // the pipe are waited for at most a second, a sink that does not answer kSinkPatience.
  kj::Promise<void> drain();

 private:
  Task<void> run();
  Task<void> deliver(const char* data, size_t size);
  Task<void> flushAndEnd();
  Task<void> dropRest();
  Task<void> waitForMore();
  bool pastEnd() const;
  void wake();

  Loop loop_;
  UniqueFd fd_;
  kj::UnixEventPort::FdObserver observer_;
  kj::Maybe<schema::ByteSink::Client> sink_;
  bool sinkFailed_ = false, processDead_ = false, delivered_ = false;
  std::string kept_;
  size_t pendingAtDeath_ = 0;
  kj::TimePoint deadline_;
  kj::Own<kj::PromiseFulfiller<void>> waker_;
  kj::Own<kj::PromiseFulfiller<void>> drainedFulfiller_;
  kj::ForkedPromise<void> drained_;
  std::unique_ptr<char[]> buffer_;
  kj::Promise<void> running_;
};

// The way into a process. Writing to one that reads no more is not an error: the bytes are dropped, as the shell does it.
class InputSink final : public schema::ByteSink::Server {
 public:
  // terminal: `end` types the end-of-file character instead of closing.
  InputSink(Loop loop, UniqueFd fd, bool terminal);
  kj::Promise<void> write(WriteContext context) override;
  kj::Promise<void> end(EndContext context) override;

 private:
  // Calls are taken one after the other: an end must not overtake a write that waits for room in the pipe.
  kj::Promise<void> enqueue(kj::Function<kj::Promise<void>()> step);
  Task<void> put(std::string bytes);
  kj::Promise<void> finish();
  void close();
  UniqueFd fd_;
  kj::Own<kj::UnixEventPort::FdObserver> observer_;  // destroyed before the descriptor that it watches
  bool terminal_, closed_ = false;
  kj::ForkedPromise<void> last_;
};

}  // namespace rauha::agent
