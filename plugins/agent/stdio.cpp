#include "plugins/agent/stdio.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/error.h"

namespace rauha::agent {
namespace {
constexpr auto kDescendantPatience = 1 * kj::SECONDS;
constexpr auto kSinkPatience = 30 * kj::SECONDS;

// Bytes read; 0: end of stream (a terminal whose last process is gone says EIO); -1: nothing there now.
ssize_t readSome(int fd, char* buffer, size_t size) {
  ssize_t n;
  do {
    n = ::read(fd, buffer, size);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN) return 0;
  return n;
}
}  // namespace

OutputPump::OutputPump(Loop loop, UniqueFd fd)
    : loop_(loop),
      fd_(std::move(fd)),
      observer_(loop.port, fd_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ),
      sink_(nullptr),
      deadline_(kj::origin<kj::TimePoint>()),
      drained_(nullptr),
      buffer_(new char[kChunk]),
      running_(nullptr) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  drainedFulfiller_ = kj::mv(paf.fulfiller);
  drained_ = paf.promise.fork();
  running_ = run().promise().eagerlyEvaluate([this](kj::Exception&&) { drainedFulfiller_->fulfill(); });
}

void OutputPump::wake() {
  if (waker_.get() != nullptr) waker_->fulfill();
}

void OutputPump::attach(schema::ByteSink::Client sink) {
  if (sink_ != nullptr && !sinkFailed_) throw Error("zone", Code::conflict, "somebody is attached to this stream already");
  sink_ = kj::mv(sink);
  sinkFailed_ = false;
  wake();
}

void OutputPump::giveTo(uint32_t uid, uint32_t gid) {
  if (::fchown(fd_.get(), uid, gid) != 0) throwErrno("zone", "give an output pipe to the task's user");
}

kj::Promise<void> OutputPump::drain() {
  if (!processDead_) {
    processDead_ = true;
    int pending = 0;
    if (::ioctl(fd_.get(), FIONREAD, &pending) == 0 && pending > 0) pendingAtDeath_ = static_cast<size_t>(pending);
    deadline_ = loop_.timer.now() + kDescendantPatience;
    wake();
  }
  return drained_.addBranch().exclusiveJoin(loop_.timer.afterDelay(kSinkPatience));
}

// The process is dead, its own bytes are out, and descendants had their second.
bool OutputPump::pastEnd() const { return processDead_ && pendingAtDeath_ == 0 && loop_.timer.now() >= deadline_; }

Task<void> OutputPump::waitForMore() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  waker_ = kj::mv(paf.fulfiller);
  auto event = observer_.whenBecomesReadable().exclusiveJoin(kj::mv(paf.promise));
  if (processDead_ && !delivered_) event = event.exclusiveJoin(loop_.timer.atTime(deadline_));
  co_await kj::mv(event);
  waker_ = nullptr;
}

Task<void> OutputPump::deliver(const char* data, size_t size) {
  KJ_IF_MAYBE (sink, sink_) {
    if (sinkFailed_) co_return;
    try {
      while (size > 0) {
        const size_t n = std::min(size, kChunk);
        auto request = sink->writeRequest(capnp::MessageSize{n / sizeof(capnp::word) + 16, 0});
        request.setChunk(kj::arrayPtr(reinterpret_cast<const kj::byte*>(data), n));
        co_await request.send();
        data += n;
        size -= n;
      }
    } catch (...) {
      sinkFailed_ = true;  // whoever watched is gone; the process goes on
    }
    co_return;
  }
  kept_.append(data, std::min(size, kKept - kept_.size()));
}

Task<void> OutputPump::flushAndEnd() {
  std::string kept;
  kept.swap(kept_);
  co_await deliver(kept.data(), kept.size());
  KJ_IF_MAYBE (sink, sink_) {
    if (sinkFailed_) co_return;
    try {
      co_await sink->endRequest().send().ignoreResult();
    } catch (...) {
      sinkFailed_ = true;
    }
  }
}

Task<void> OutputPump::dropRest() {
  while (true) {
    const ssize_t n = readSome(fd_.get(), buffer_.get(), kChunk);
    if (n == 0) co_return;
    if (n < 0) co_await waitForMore();
  }
}

Task<void> OutputPump::run() {
  bool eof = false;
  while (!eof) {
    if (sink_ != nullptr && !kept_.empty()) {
      std::string kept;
      kept.swap(kept_);
      co_await deliver(kept.data(), kept.size());
    }
    if (pastEnd()) break;
    const ssize_t n = readSome(fd_.get(), buffer_.get(), kChunk);
    if (n > 0) {
      pendingAtDeath_ -= std::min(pendingAtDeath_, static_cast<size_t>(n));
      co_await deliver(buffer_.get(), static_cast<size_t>(n));
    } else if (n == 0) {
      eof = true;
    } else {
      pendingAtDeath_ = 0;
      co_await waitForMore();
    }
  }
  const bool watched = sink_ != nullptr;
  if (watched) co_await flushAndEnd();
  delivered_ = true;
  drainedFulfiller_->fulfill();
  if (!eof) co_await dropRest();
  while (!watched && sink_ == nullptr) {
    // Nobody came yet: what was kept waits for him.
    auto paf = kj::newPromiseAndFulfiller<void>();
    waker_ = kj::mv(paf.fulfiller);
    co_await kj::mv(paf.promise);
  }
  if (!watched) co_await flushAndEnd();
}

InputSink::InputSink(Loop loop, UniqueFd fd, bool terminal)
    : fd_(std::move(fd)),
      observer_(kj::heap<kj::UnixEventPort::FdObserver>(loop.port, fd_.get(), kj::UnixEventPort::FdObserver::OBSERVE_WRITE)),
      terminal_(terminal),
      last_(kj::Promise<void>(kj::READY_NOW).fork()) {}

void InputSink::close() {
  closed_ = true;
  observer_ = nullptr;
  fd_.reset();
}

kj::Promise<void> InputSink::enqueue(kj::Function<kj::Promise<void>()> step) {
  last_ = last_.addBranch().then(kj::mv(step)).fork();
  return last_.addBranch();
}

kj::Promise<void> InputSink::write(WriteContext context) {
  auto chunk = context.getParams().getChunk();
  if (chunk.size() > kChunk) return toKj(Error("zone", Code::limit, "a chunk of input is larger than 64 KiB"));
  std::string bytes(reinterpret_cast<const char*>(chunk.begin()), chunk.size());
  return enqueue([this, bytes = std::move(bytes)]() mutable -> kj::Promise<void> { return put(std::move(bytes)); });
}

Task<void> InputSink::put(std::string bytes) {
  size_t done = 0;
  while (!closed_ && done < bytes.size()) {
    const ssize_t n = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
    const int error = n < 0 ? errno : 0;
    if (n > 0) done += static_cast<size_t>(n);
    if (error != 0 && error != EINTR && error != EAGAIN) closed_ = true;  // EPIPE, EIO: nobody reads any more
    if (error == EAGAIN) {
      auto writable = observer_->whenBecomesWritable();
      co_await kj::mv(writable);
    }
  }
}

kj::Promise<void> InputSink::end(EndContext) {
  return enqueue([this]() { return finish(); });
}

kj::Promise<void> InputSink::finish() {
  if (closed_) return kj::READY_NOW;
  if (!terminal_) {
    close();
    return kj::READY_NOW;
  }
  struct termios settings;
  const bool cooked = ::tcgetattr(fd_.get(), &settings) == 0 && (settings.c_lflag & ICANON) != 0;
  if (!cooked) return kj::READY_NOW;
  return put(std::string(1, static_cast<char>(settings.c_cc[VEOF])));
}

}  // namespace rauha::agent
