#include "core/plugin/remote/spawn_host.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/error.h"

namespace rauha::plugin {
namespace {

constexpr int kDescriptors = 6;  // 0-2 null, 3 socket, 4 plugin file, 5 reports

// In the child. Async-signal-safe.
[[noreturn]] void become(const char* program, char* const* argv, const std::array<int, kDescriptors>& from, int failure) noexcept {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &plain, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setsid();
  bool good = chdir("/") == 0;
  for (int i = 0; i < kDescriptors && good; ++i) good = dup2(from[static_cast<size_t>(i)], i) == i;
  // The pipe that tells of a failure closes itself on exec; everything between goes.
  good = good && dup2(failure, kDescriptors) == kDescriptors && fcntl(kDescriptors, F_SETFD, FD_CLOEXEC) == 0 &&
         syscall(SYS_close_range, kDescriptors + 1, ~0u, 0) == 0;
  if (good) {
    char* environment[] = {nullptr};
    execve(program, argv, environment);
  }
  const int error = errno;
  if (write(kDescriptors, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

// Sources above all targets: none is overwritten before it was copied.
UniqueFd above(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 64));
  if (!copy) throwErrno("plugin", "duplicate descriptor " + std::to_string(fd));
  return copy;
}

void pipeOf(UniqueFd& read, UniqueFd& write, const std::string& what) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throwErrno("plugin", "pipe of " + what);
  read.reset(ends[0]);
  write.reset(ends[1]);
}

}  // namespace

SpawnedHost spawnHost(const std::string& program, const std::string& plugin, const std::string& instance, int file) {
  const std::string what = "the process of plugin " + plugin;
  SpawnedHost out;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throwErrno("plugin", "socket pair of " + what);
  out.socket.reset(pair[0]);
  const UniqueFd theirs(pair[1]);
  UniqueFd theirReports, failure, theirFailure;
  pipeOf(out.reports, theirReports, what);
  pipeOf(failure, theirFailure, what);
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) throwErrno("plugin", "open /dev/null");
  std::array<UniqueFd, kDescriptors> copies{above(null.get()),   above(null.get()), above(null.get()),
                                            above(theirs.get()), above(file),       above(theirReports.get())};
  std::array<int, kDescriptors> from{};
  for (size_t i = 0; i < copies.size(); ++i) from[i] = copies[i].get();
  UniqueFd failureCopy = above(theirFailure.get());
  std::string name = "rauha-plugin-host", of = plugin, in = instance;
  char* argv[] = {name.data(), of.data(), in.data(), nullptr};

  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | CLONE_NEWPID;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  // No signal may run a handler of ours in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) become(program.c_str(), argv, from, failureCopy.get());
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    throw osError("plugin", "start " + what, error, "a plugin of isolation \"process\" needs a daemon that may make pid namespaces");
  out.pid = static_cast<pid_t>(pid);
  out.pidfd.reset(pidfd);
  for (auto& copy : copies) copy.reset();
  theirFailure.reset();
  failureCopy.reset();
  int reason = 0;
  ssize_t n;
  do n = read(failure.get(), &reason, sizeof reason);
  while (n < 0 && errno == EINTR);
  if (n == 0) return out;
  siginfo_t info{};
  waitid(P_PIDFD, static_cast<id_t>(out.pidfd.get()), &info, WEXITED);
  throw osError("plugin", "start " + program, reason, "rauha-plugin-host belongs beside rauha-shim");
}

}  // namespace rauha::plugin
