#include "frontends/cli/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "core/base/error.h"

namespace rauha::cli {

Signals::Signals() {
  sigset_t taken;
  sigemptyset(&taken);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) {
    struct sigaction current {};
    if (sigaction(number, nullptr, &current) != 0) throwErrno("task", "read signal dispositions");
    if (current.sa_handler != SIG_IGN) sigaddset(&taken, number);
  }
  if (sigprocmask(SIG_BLOCK, &taken, nullptr) != 0) throwErrno("task", "block signals");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);
  fd_ = UniqueFd(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throwErrno("task", "make a signalfd");
}

std::optional<int> Signals::next() noexcept {
  signalfd_siginfo info;
  if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  const int number = static_cast<int>(info.ssi_signo);
  if (number != SIGWINCH) noteEnding(number);
  return number;
}

int Signals::poll() noexcept {
  while (next()) {
  }
  return ending_;
}

}  // namespace rauha::cli
