#pragma once
// The terminal on standard input, for `rauha sandbox -t`: raw while a task has it, as it was before on every way out.

#include <cstdint>

namespace rauha::cli {

struct TerminalSize {
  uint16_t rows = 24;
  uint16_t columns = 80;
};

// Of the terminal behind fd; 24x80 when it does not tell.
TerminalSize terminalSize(int fd) noexcept;
// Is the terminal behind fd somebody else's at the moment (we are a background job)?
bool inBackground(int fd) noexcept;

// Raw mode for the object's life. Also restored when the program dies of a fatal signal (SIGSEGV, SIGABRT and the like).
// At most one at a time. Throws Error "task".
class RawTerminal final {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  int fd_;
};

}  // namespace rauha::cli
