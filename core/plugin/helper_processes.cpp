#include "core/plugin/helper_processes.h"

#include <fcntl.h>
#include <poll.h>
#include <rauha/service_spawn.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/close_range.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::plugin {
namespace {

constexpr int kFirstCopy = 256;  // copies of what is passed on lie above every number that a helper can have
constexpr int kEndPatienceMs = 2000;

UniqueFd above(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, kFirstCopy));
  if (!copy) throwErrno("plugin", "duplicate descriptor " + std::to_string(fd) + " for a helper");
  return copy;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));  // execve(2) does not write
  out.push_back(nullptr);
  return out;
}

// Everything that the child needs, made before the fork: between fork and exec only system calls are allowed.
struct Plan {
  const char* program;
  const char* directory;
  char* const* argv;
  char* const* envp;
  const std::pair<int, int>* descriptors;  // copy, number; sorted by number
  size_t count;
  int errorPipe;
  pid_t parent;
  bool setUserId;
};

[[noreturn]] void fail(int pipe) noexcept {
  const int error = errno;
  if (write(pipe, &error, sizeof error) < 0) {
    // Then the parent sees an early end.
  }
  _exit(127);
}

[[noreturn]] void child(const Plan& plan) noexcept {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(plan.errorPipe);
  if (getppid() != plan.parent) _exit(127);  // it died before we could be told
  struct sigaction normal {};
  normal.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) sigaction(s, &normal, nullptr);  // fails for those that cannot be changed
  setsid();
  umask(022);
  if (chdir(plan.directory) != 0) fail(plan.errorPipe);
  unsigned next = 0;
  for (size_t i = 0; i < plan.count; ++i) {
    const auto [copy, number] = plan.descriptors[i];
    if (dup2(copy, number) < 0) fail(plan.errorPipe);
    const auto at = static_cast<unsigned>(number);
    if (at > next && syscall(SYS_close_range, next, at - 1, CLOSE_RANGE_CLOEXEC) != 0) fail(plan.errorPipe);
    next = at + 1;
  }
  if (syscall(SYS_close_range, next, ~0u, CLOSE_RANGE_CLOEXEC) != 0) fail(plan.errorPipe);
  if (!plan.setUserId && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(plan.errorPipe);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(plan.program, plan.argv, plan.envp);
  fail(plan.errorPipe);
}

// The process that a pidfd stands for; 0: ended and reaped, or no pidfd.
int pidOf(int pidfd) {
  std::string text;
  try {
    text = readFile("/proc/self/fdinfo/" + std::to_string(pidfd));
  } catch (const Error&) {
    return 0;
  }
  const size_t at = text.find("\nPid:\t");
  if (at == std::string::npos) return 0;
  int pid = 0;
  std::from_chars(text.data() + at + 6, text.data() + text.size(), pid);
  return pid > 0 ? pid : 0;
}

bool reap(int pidfd, int options, siginfo_t& info) noexcept {
  info = {};
  while (waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | options) != 0)
    if (errno != EINTR) return false;
  return info.si_pid != 0;
}

}  // namespace

HelperProcesses::~HelperProcesses() { endAll(); }

std::pair<UniqueFd, int> HelperProcesses::start(const HelperRequest& request) {
  {
    std::lock_guard lock(mutex_);
    if (helpers_.size() + starting_ >= RAUHA_SPAWN_MAX)
      throw Error("plugin", Code::limit, "the plugin has " + std::to_string(RAUHA_SPAWN_MAX) + " helper programs that were not waited for");
    ++starting_;
  }
  const Defer started([&] {
    std::lock_guard lock(mutex_);
    --starting_;
  });
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throwErrno("plugin", "pipe for a helper");
  const UniqueFd readEnd(ends[0]);
  UniqueFd writeEnd(ends[1]);
  UniqueFd errorPipe = above(writeEnd.get());
  writeEnd.reset();
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) throwErrno("plugin", "open /dev/null");
  std::vector<UniqueFd> copies;
  std::vector<std::pair<int, int>> passed;
  for (const auto& [ours, number] : request.descriptors) {
    copies.push_back(above(ours));
    passed.emplace_back(copies.back().get(), number);
  }
  for (int number = 0; number < 3; ++number) {
    if (std::any_of(passed.begin(), passed.end(), [&](const auto& p) { return p.second == number; })) continue;
    copies.push_back(above(null.get()));
    passed.emplace_back(copies.back().get(), number);
  }
  std::sort(passed.begin(), passed.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto argv = pointers(request.arguments), envp = pointers(request.environment);
  const Plan plan{request.program.c_str(), request.directory.c_str(), argv.data(), envp.data(),      passed.data(),
                  passed.size(),           errorPipe.get(),           getpid(),    request.setUserId};

  // A handler of ours must not run in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) child(plan);
  const int forkError = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) throw osError("plugin", "fork for " + request.program, forkError);
  Helper helper;
  helper.pid = pid;
  helper.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));  // safe: our own child, not reaped
  if (!helper.pidfd) {
    const int error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    throw osError("plugin", "pidfd of " + request.program, error);
  }
  errorPipe.reset();
  int error = 0;
  ssize_t got = 0;
  while ((got = read(readEnd.get(), &error, sizeof error)) < 0 && errno == EINTR) {
  }
  if (got != 0) {
    siginfo_t info;
    reap(helper.pidfd.get(), 0, info);
    throw osError("plugin", "run " + request.program, got == sizeof error ? error : EIO);
  }
  UniqueFd theirs = duplicate(helper.pidfd.get());
  std::lock_guard lock(mutex_);
  helpers_.push_back(std::move(helper));
  return {std::move(theirs), pid};
}

HelperEnd HelperProcesses::wait(int pidfd, int cancelFd, int64_t deadlineNs) {
  const int pid = pidOf(pidfd);
  UniqueFd own;
  {
    std::lock_guard lock(mutex_);
    const auto it = std::find_if(helpers_.begin(), helpers_.end(), [&](const Helper& h) { return h.pid == pid; });
    if (pid == 0 || it == helpers_.end())
      throw Error("plugin", Code::notFound, "descriptor " + std::to_string(pidfd) + " is not of a helper program that can be waited for");
    own = duplicate(it->pidfd.get());
  }
  for (;;) {
    pollfd fds[] = {{own.get(), POLLIN, 0}, {cancelFd, POLLIN, 0}};
    const int64_t left = deadlineNs == 0 ? 1'000'000'000 : deadlineNs - monotonicNs();
    if (left <= 0) throw Error("plugin", Code::deadline, "helper process " + std::to_string(pid) + " did not end in time");
    const int ready = poll(fds, 2, static_cast<int>(std::min<int64_t>((left + 999'999) / 1'000'000, 60'000)));
    if (ready < 0 && errno != EINTR) throwErrno("plugin", "wait for helper process " + std::to_string(pid));
    if (ready > 0 && fds[0].revents != 0) break;
    if (ready > 0 && fds[1].revents != 0) throw Error("plugin", Code::cancelled, "cancelled by the caller");
  }
  std::lock_guard lock(mutex_);
  const auto it = std::find_if(helpers_.begin(), helpers_.end(), [&](const Helper& h) { return h.pid == pid; });
  siginfo_t info;
  if (it == helpers_.end() || !reap(own.get(), 0, info))
    throw Error("plugin", Code::notFound, "helper process " + std::to_string(pid) + " was waited for already");
  helpers_.erase(it);
  return {info.si_code != CLD_EXITED, static_cast<uint32_t>(info.si_status)};
}

void HelperProcesses::endAll() noexcept {
  std::lock_guard lock(mutex_);
  for (auto& helper : helpers_) syscall(SYS_pidfd_send_signal, helper.pidfd.get(), SIGKILL, nullptr, 0);
  for (auto& helper : helpers_) {
    pollfd fd{helper.pidfd.get(), POLLIN, 0};
    siginfo_t info;
    if (poll(&fd, 1, kEndPatienceMs) > 0) reap(helper.pidfd.get(), WNOHANG, info);
  }
  helpers_.clear();
}

}  // namespace rauha::plugin
