#pragma once
// Signals as data: from the moment this object lives, Ctrl-C and its kin are read from a descriptor instead of ending the program, so that
// a task is cancelled and its result still printed.
//
// Made once, first thing in `rauha sandbox`, before any thread. A signal that our caller had set to be ignored (nohup, a background job of
// a script) stays ignored. Children must reset mask and dispositions; daemon_start does.

#include <optional>

#include "core/base/fd.h"

namespace rauha::cli {

class Signals final {
 public:
  // Takes over SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH; ignores SIGPIPE and SIGTTIN (reading a terminal from the background then
  // fails with EIO instead of stopping us). Throws Error "task".
  Signals();
  // Readable when next() has something; for poll and the event loop.
  int fd() const noexcept { return fd_.get(); }
  // The next signal that arrived, without waiting.
  std::optional<int> next() noexcept;
  // The first signal that asks us to end; 0: none yet. Reads what has arrived.
  int poll() noexcept;
  // As poll(), without reading anew.
  int ending() const noexcept { return ending_; }
  void noteEnding(int signal) noexcept {
    if (ending_ == 0) ending_ = signal;
  }

 private:
  UniqueFd fd_;
  int ending_ = 0;
};

}  // namespace rauha::cli
