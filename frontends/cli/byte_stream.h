#pragma once
// Our standard streams inside the event loop: never blocking it, and never changing the descriptors' flags, which we share with whoever
// started us (a non-blocking terminal would break the caller's shell).
//
// Pipes and terminals are opened once more through /proc/self/fd, so that the second opening can be non-blocking alone; where that is not
// allowed, readiness is asked for before each bounded call. Thread: the event loop's.

#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <cstddef>
#include <cstdint>

#include "core/base/coro.h"
#include "core/base/fd.h"

namespace rauha::cli {

// What kind of thing a descriptor is, as far as reading and writing differ.
enum class StreamKind { closed, null, file, socket, pollable };
StreamKind streamKind(int fd) noexcept;

class ByteOutput final {
 public:
  // fd: borrowed.
  ByteOutput(kj::AsyncIoContext& io, int fd);
  // Writes everything. Throws osError of class "task" (EPIPE: nobody reads any more). One call at a time.
  Task<void> write(kj::ArrayPtr<const kj::byte> bytes);
  // Resolves when the reader of a pipe or socket is gone, or the terminal hung up; never for files.
  kj::Promise<void> whenGone();

 private:
  ssize_t writeSome(kj::ArrayPtr<const kj::byte> bytes) noexcept;
  int fd_;
  StreamKind kind_;
  UniqueFd own_;  // the second opening
  kj::Own<kj::UnixEventPort::FdObserver> observer_;
};

class ByteInput final {
 public:
  ByteInput(kj::AsyncIoContext& io, int fd);
  // The next bytes, at most size; 0 is the end. While we are a background job of the terminal, it waits. Throws osError of class "task".
  Task<size_t> read(kj::byte* buffer, size_t size);

 private:
  kj::Timer& timer_;
  int fd_;
  bool terminal_;
  kj::Own<kj::UnixEventPort::FdObserver> observer_;  // null: reads never wait
};

}  // namespace rauha::cli
