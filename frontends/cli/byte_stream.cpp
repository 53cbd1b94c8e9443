#include "frontends/cli/byte_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "core/base/error.h"
#include "frontends/cli/terminal.h"

namespace rauha::cli {
namespace {

// The kernel does not tell when a background job becomes the foreground one.
constexpr auto kForegroundCheck = 200 * kj::MILLISECONDS;

bool ready(int fd, short events) noexcept {
  pollfd p{fd, events, 0};
  return poll(&p, 1, 0) > 0;
}

kj::Own<kj::UnixEventPort::FdObserver> observe(kj::AsyncIoContext& io, int fd, kj::uint flags) {
  kj::Own<kj::UnixEventPort::FdObserver> observer;
  // epoll refuses devices that never wait, /dev/zero for one.
  auto failed = kj::runCatchingExceptions([&]() { observer = kj::heap<kj::UnixEventPort::FdObserver>(io.unixEventPort, fd, flags); });
  KJ_IF_MAYBE (e, failed) (void)e;
  return observer;
}

UniqueFd openAgain(int fd, int flags) noexcept {
  return UniqueFd(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

StreamKind streamKind(int fd) noexcept {
  struct stat st {};
  if (fstat(fd, &st) != 0) return StreamKind::closed;
  if (S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && minor(st.st_rdev) == 3) return StreamKind::null;
  if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return StreamKind::file;
  if (S_ISSOCK(st.st_mode)) return StreamKind::socket;
  return StreamKind::pollable;
}

ByteOutput::ByteOutput(kj::AsyncIoContext& io, int fd) : fd_(fd), kind_(streamKind(fd)) {
  if (kind_ == StreamKind::pollable) own_ = openAgain(fd, O_WRONLY);
  if (kind_ == StreamKind::pollable || kind_ == StreamKind::socket)
    observer_ = observe(io, own_ ? own_.get() : fd_, kj::UnixEventPort::FdObserver::OBSERVE_WRITE);
}

ssize_t ByteOutput::writeSome(kj::ArrayPtr<const kj::byte> bytes) noexcept {
  if (kind_ == StreamKind::socket) return send(fd_, bytes.begin(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (own_) return ::write(own_.get(), bytes.begin(), bytes.size());
  if (observer_.get() == nullptr) return ::write(fd_, bytes.begin(), bytes.size());
  if (!ready(fd_, POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd_, bytes.begin(), std::min<size_t>(bytes.size(), PIPE_BUF));  // a writable pipe takes that much without waiting
}

Task<void> ByteOutput::write(kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    const ssize_t n = writeSome(bytes);
    if (n >= 0) {
      bytes = bytes.slice(static_cast<size_t>(n), bytes.size());
    } else if (errno == EAGAIN && observer_.get() != nullptr) {
      co_await observer_->whenBecomesWritable();
    } else if (errno != EINTR) {
      throwErrno("task", "write to standard output");
    }
  }
}

kj::Promise<void> ByteOutput::whenGone() {
  if (observer_.get() == nullptr) return kj::NEVER_DONE;
  return observer_->whenWriteDisconnected();
}

ByteInput::ByteInput(kj::AsyncIoContext& io, int fd) : timer_(io.provider->getTimer()), fd_(fd), terminal_(isatty(fd) == 1) {
  const StreamKind kind = streamKind(fd);
  if (kind == StreamKind::pollable || kind == StreamKind::socket) observer_ = observe(io, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
}

Task<size_t> ByteInput::read(kj::byte* buffer, size_t size) {
  for (;;) {
    if (terminal_ && inBackground(fd_)) {
      co_await timer_.afterDelay(kForegroundCheck);
      continue;
    }
    if (observer_.get() != nullptr && !ready(fd_, POLLIN)) {
      co_await observer_->whenBecomesReadable();
      continue;
    }
    const ssize_t n = ::read(fd_, buffer, size);
    if (n >= 0) co_return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    if (errno == EAGAIN && observer_.get() != nullptr) {
      co_await observer_->whenBecomesReadable();
      continue;
    }
    if (errno == EIO && terminal_) {
      if (inBackground(fd_)) continue;  // lost the terminal between the question and the read
      co_return 0;                      // it hung up
    }
    throwErrno("task", "read standard input");
  }
}

}  // namespace rauha::cli
