#include "frontends/cli/terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "core/base/error.h"

namespace rauha::cli {
namespace {

// A signal handler has no argument of ours, so what it restores must be found without one. Written before the handlers are installed.
struct Saved {
  std::atomic<int> fd{-1};
  termios mode{};
};
Saved saved;

void restore() noexcept {
  const int fd = saved.fd.exchange(-1);
  if (fd >= 0) tcsetattr(fd, TCSADRAIN, &saved.mode);
}

extern "C" void rauhaRestoreTerminalAndDie(int number) {
  const int fd = saved.fd.exchange(-1);
  // Not TCSADRAIN here: a stopped terminal would keep a dying program.
  if (fd >= 0) tcsetattr(fd, TCSANOW, &saved.mode);
  raise(number);  // SA_RESETHAND: the default action follows
}

}  // namespace

TerminalSize terminalSize(int fd) noexcept {
  winsize size{};
  TerminalSize out;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return out;
  out.rows = size.ws_row;
  out.columns = size.ws_col;
  return out;
}

bool inBackground(int fd) noexcept {
  const pid_t owner = tcgetpgrp(fd);
  return owner >= 0 && owner != getpgrp();
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  if (tcgetattr(fd, &saved.mode) != 0) throwErrno("task", "read the terminal's mode");
  saved.fd = fd;
  struct sigaction action {};
  action.sa_handler = rauhaRestoreTerminalAndDie;
  action.sa_flags = SA_RESETHAND;
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigaction(number, &action, nullptr);
  termios raw = saved.mode;
  cfmakeraw(&raw);
  if (tcsetattr(fd, TCSADRAIN, &raw) != 0) {
    const Error error = osError("task", "set the terminal to raw mode", errno);
    saved.fd = -1;
    throw error;
  }
}

RawTerminal::~RawTerminal() { restore(); }

}  // namespace rauha::cli
