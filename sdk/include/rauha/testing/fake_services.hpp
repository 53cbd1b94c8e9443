#pragma once
// The host's services (state, events, timers, watches, spawn) in memory, for FakeHost.
//
// Time and callbacks are the test's: a timer fires when the test calls advance(), a watch when it calls dispatch(), both on the test's
// own thread, one at a time, as the headers promise. With runServiceThread() a thread does it by itself and by the real clock, for plugins
// whose calls wait for their own callbacks. Programs started through rauha.spawn/1 really run, unless the test puts a function in their
// place (FakeSpawn::replace). Limits are those of the headers.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../plugin.hpp"
#include "../service_events.h"
#include "../service_spawn.h"
#include "../service_state.h"
#include "../service_timer.h"
#include "../service_watch.h"

namespace rauha::testing {

inline int64_t clockNs() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// rauha.state/1. Any zone may have a blob until the test says which zones exist (knownZones).
class FakeState final {
 public:
  std::optional<std::string> get(const std::string& zone) const {
    const std::lock_guard held(mutex_);
    const auto it = blobs_.find(zone);
    return it == blobs_.end() ? std::nullopt : std::optional(it->second);
  }
  rauha_status put(const std::string& zone, std::string bytes) {
    const std::lock_guard held(mutex_);
    if (known_ && known_->count(zone) == 0) return RAUHA_E_NOT_FOUND;
    if (bytes.size() > RAUHA_STATE_MAX_BYTES) return RAUHA_E_LIMIT;
    blobs_[zone] = std::move(bytes);
    return RAUHA_OK;
  }
  void erase(const std::string& zone) {
    const std::lock_guard held(mutex_);
    blobs_.erase(zone);
  }
  size_t size() const {
    const std::lock_guard held(mutex_);
    return blobs_.size();
  }
  void knownZones(std::set<std::string> zones) {
    const std::lock_guard held(mutex_);
    known_ = std::move(zones);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> blobs_;
  std::optional<std::set<std::string>> known_;
};

// rauha.timer/1 and rauha.watch/1: one queue of callbacks, as the host has one thread for them.
class FakeCallbacks final {
 public:
  FakeCallbacks() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  FakeCallbacks(const FakeCallbacks&) = delete;
  FakeCallbacks& operator=(const FakeCallbacks&) = delete;
  ~FakeCallbacks() {
    stopServiceThread();
    for (const auto& [id, watch] : watches_) ::close(watch.fd);
    ::close(wake_);
  }

  // Moves the test's clock and fires what became due, in order of time.
  void advance(int64_t ns) {
    const int64_t until = nowNs() + ns;
    for (;;) {
      std::unique_lock held(mutex_);
      const auto next = nextTimer();
      if (next == timers_.end() || next->second.dueNs > until) break;
      if (manualNs_ < next->second.dueNs) manualNs_ = next->second.dueNs;
      fire(held, next->first);
    }
    const std::lock_guard held(mutex_);
    manualNs_ = until;
  }
  // Calls back for each watched descriptor that is ready now, once; waits up to timeoutMs for the first. Gives how many there were.
  int dispatch(int timeoutMs = 0) {
    std::vector<pollfd> fds;
    std::vector<uint64_t> ids;
    {
      const std::lock_guard held(mutex_);
      for (const auto& [id, watch] : watches_) {
        fds.push_back({watch.fd, static_cast<short>(pollEvents(watch.request.events)), 0});
        ids.push_back(id);
      }
    }
    if (::poll(fds.data(), fds.size(), timeoutMs) <= 0) return 0;
    int called = 0;
    for (size_t i = 0; i < fds.size(); ++i)
      if (fds[i].revents != 0 && ready(ids[i], watchEvents(fds[i].revents))) ++called;
    return called;
  }
  // From now on callbacks come by themselves, by the real clock.
  void runServiceThread() {
    if (thread_.joinable()) return;
    stop_ = false;
    realTime_ = true;
    thread_ = std::thread([this] { loop(); });
  }
  void stopServiceThread() {
    if (!thread_.joinable()) return;
    stop_ = true;
    wake();
    thread_.join();
    realTime_ = false;
  }
  size_t liveTimers() const {
    const std::lock_guard held(mutex_);
    return timers_.size();
  }
  size_t liveWatches() const {
    const std::lock_guard held(mutex_);
    return watches_.size();
  }

  rauha_status startTimer(const rauha_timer_request* raw, uint64_t* out) {
    const auto request = sdk::input(raw, "timer request");
    const std::lock_guard held(mutex_);
    if (request.flags != 0) return RAUHA_E_UNSUPPORTED;
    if (request.fire == nullptr || out == nullptr || request.after_ns < 0 || request.every_ns < 0 ||
        (request.every_ns > 0 && request.every_ns < RAUHA_TIMER_MIN_PERIOD_NS))
      return RAUHA_E_INVALID;
    if (timers_.size() >= RAUHA_TIMER_MAX) return RAUHA_E_LIMIT;
    *out = ++lastId_;
    timers_[*out] = {request, now() + request.after_ns};
    wake();
    return RAUHA_OK;
  }
  void cancelTimer(uint64_t id) {
    std::unique_lock held(mutex_);
    timers_.erase(id);
    awaitRunning(held, id);
  }
  rauha_status addWatch(const rauha_watch_request* raw, uint64_t* out) {
    const auto request = sdk::input(raw, "watch request");
    const std::lock_guard held(mutex_);
    if ((request.flags & ~RAUHA_WATCH_ONCE) != 0) return RAUHA_E_UNSUPPORTED;
    struct stat st {};
    if (request.ready == nullptr || out == nullptr || request.fd_borrow < 0 || ::fstat(request.fd_borrow, &st) != 0) return RAUHA_E_INVALID;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) return RAUHA_E_UNSUPPORTED;
    if (watches_.size() >= RAUHA_WATCH_MAX) return RAUHA_E_LIMIT;
    *out = ++lastId_;
    watches_[*out] = {request, ::fcntl(request.fd_borrow, F_DUPFD_CLOEXEC, 3)};
    wake();
    return RAUHA_OK;
  }
  void removeWatch(uint64_t id) {
    std::unique_lock held(mutex_);
    forgetWatch(id);
    awaitRunning(held, id);
  }
  // As the host does after destroy().
  void dropAll() {
    std::unique_lock held(mutex_);
    timers_.clear();
    while (!watches_.empty()) forgetWatch(watches_.begin()->first);
    awaitRunning(held, running_);
  }

 private:
  struct Timer {
    rauha_timer_request request;
    int64_t dueNs;
  };
  struct Watch {
    rauha_watch_request request;
    int fd;
  };

  static int pollEvents(uint32_t events) noexcept {
    return ((events & RAUHA_WATCH_READABLE) != 0 ? POLLIN : 0) | ((events & RAUHA_WATCH_WRITABLE) != 0 ? POLLOUT : 0);
  }
  static uint32_t watchEvents(int events) noexcept {
    return ((events & POLLIN) != 0 ? RAUHA_WATCH_READABLE : 0u) | ((events & POLLOUT) != 0 ? RAUHA_WATCH_WRITABLE : 0u) |
           ((events & (POLLHUP | POLLERR)) != 0 ? RAUHA_WATCH_HUNG_UP : 0u);
  }
  int64_t now() const noexcept { return realTime_ ? clockNs() : manualNs_; }
  int64_t nowNs() const {
    const std::lock_guard held(mutex_);
    return now();
  }
  void wake() const noexcept { ::eventfd_write(wake_, 1); }
  std::map<uint64_t, Timer>::iterator nextTimer() {
    return std::min_element(timers_.begin(), timers_.end(), [](const auto& a, const auto& b) { return a.second.dueNs < b.second.dueNs; });
  }
  void forgetWatch(uint64_t id) {
    const auto it = watches_.find(id);
    if (it == watches_.end()) return;
    ::close(it->second.fd);
    watches_.erase(it);
  }
  void awaitRunning(std::unique_lock<std::mutex>& held, uint64_t id) {
    if (runner_ == std::this_thread::get_id()) return;
    done_.wait(held, [&] { return running_ != id || id == 0; });
  }
  template <typename F>
  void call(std::unique_lock<std::mutex>& held, uint64_t id, F&& f) {
    done_.wait(held, [&] { return running_ == 0; });
    running_ = id;
    runner_ = std::this_thread::get_id();
    held.unlock();
    f();
    held.lock();
    running_ = 0;
    runner_ = {};
    done_.notify_all();
  }
  void fire(std::unique_lock<std::mutex>& held, uint64_t id) {
    Timer& timer = timers_[id];
    const rauha_timer_request request = timer.request;
    const int64_t late = std::max<int64_t>(0, now() - timer.dueNs);
    const uint64_t times = request.every_ns == 0 ? 1 : 1 + static_cast<uint64_t>(late / request.every_ns);
    timer.dueNs += request.every_ns * static_cast<int64_t>(times);
    if (request.every_ns == 0) timers_.erase(id);
    call(held, id, [&] { request.fire(request.context, id, times); });
  }
  bool ready(uint64_t id, uint32_t events) {
    std::unique_lock held(mutex_);
    const auto it = watches_.find(id);
    if (it == watches_.end()) return false;
    const rauha_watch_request request = it->second.request;
    if ((request.flags & RAUHA_WATCH_ONCE) != 0) forgetWatch(id);
    call(held, id, [&] { request.ready(request.context, id, events); });
    return true;
  }
  void loop() {
    while (!stop_) {
      int timeout = 1000;
      {
        std::unique_lock held(mutex_);
        const auto next = nextTimer();
        if (next != timers_.end()) {
          const int64_t left = next->second.dueNs - clockNs();
          if (left <= 0) {
            fire(held, next->first);
            continue;
          }
          timeout = static_cast<int>(std::min<int64_t>(timeout, left / 1'000'000 + 1));
        }
      }
      waitForAny(timeout);
      dispatch();
    }
  }
  void waitForAny(int timeoutMs) {
    std::vector<pollfd> fds{{wake_, POLLIN, 0}};
    {
      const std::lock_guard held(mutex_);
      for (const auto& [id, watch] : watches_) fds.push_back({watch.fd, static_cast<short>(pollEvents(watch.request.events)), 0});
    }
    ::poll(fds.data(), fds.size(), timeoutMs);
    eventfd_t ignored = 0;
    ::eventfd_read(wake_, &ignored);
  }

  mutable std::mutex mutex_;
  std::condition_variable done_;
  std::map<uint64_t, Timer> timers_;
  std::map<uint64_t, Watch> watches_;
  uint64_t lastId_ = 0, running_ = 0;
  std::thread::id runner_;
  int64_t manualNs_ = 0;
  std::atomic<bool> realTime_{false}, stop_{false};
  std::thread thread_;
  int wake_;
};

// What a plugin asked rauha.spawn/1 to run.
struct SpawnedProgram {
  std::string program, directory;
  std::vector<std::string> arguments, environment;
  uint32_t flags = 0;
};

// rauha.spawn/1.
class FakeSpawn final {
 public:
  FakeSpawn() = default;
  FakeSpawn(const FakeSpawn&) = delete;
  FakeSpawn& operator=(const FakeSpawn&) = delete;
  ~FakeSpawn() { dropAll(); }

  // Instead of the program, `body` runs in a child process with the descriptors and the directory that were asked for; its result is the
  // exit code.
  void replace(std::string program, std::function<int(const SpawnedProgram&)> body) {
    const std::lock_guard held(mutex_);
    replaced_[std::move(program)] = std::move(body);
  }
  std::vector<SpawnedProgram> started() const {
    const std::lock_guard held(mutex_);
    return started_;
  }
  size_t unwaited() const {
    const std::lock_guard held(mutex_);
    return children_.size();
  }

  rauha_status start(const rauha_spawn_request* raw, rauha_spawn_handle* out) {
    const auto request = sdk::input(raw, "spawn request");
    if ((request.flags & ~RAUHA_SPAWN_SET_USER_ID) != 0) return RAUHA_E_UNSUPPORTED;
    SpawnedProgram program{std::string(sdk::view(request.program)), std::string(sdk::view(request.directory)), textsOf(request.arguments),
                           textsOf(request.environment), request.flags};
    if (program.directory.empty()) program.directory = "/";
    if (program.program.empty() || program.program[0] != '/' || program.directory[0] != '/' || program.arguments.empty())
      return RAUHA_E_INVALID;
    std::map<int, int> descriptors;
    for (const auto& d : sdk::elements<rauha_spawn_descriptor>(request.descriptors, "spawn descriptor"))
      if (d.flags != 0 || d.number < 0 || d.number > 255 || ::fcntl(d.fd_borrow, F_GETFD) < 0 ||
          !descriptors.emplace(d.number, d.fd_borrow).second)
        return RAUHA_E_INVALID;
    const std::lock_guard held(mutex_);
    if (children_.size() >= RAUHA_SPAWN_MAX) return RAUHA_E_LIMIT;
    started_.push_back(program);
    return launch(program, descriptors, out);
  }
  rauha_status wait(int pidfd, int cancelFd, int64_t deadlineNs, rauha_spawn_end* out) {
    std::optional<pid_t> pid;
    {
      const std::lock_guard held(mutex_);
      pid = pidOf(pidfd);
    }
    if (!pid) return RAUHA_E_NOT_FOUND;
    const int64_t leftMs = deadlineNs == 0 ? -1 : std::max<int64_t>(0, (deadlineNs - clockNs()) / 1'000'000 + 1);
    pollfd fds[] = {{pidfd, POLLIN, 0}, {cancelFd, POLLIN, 0}};
    const int n = ::poll(fds, 2, static_cast<int>(leftMs));
    if (n == 0) return RAUHA_E_DEADLINE;
    if ((fds[0].revents & POLLIN) == 0) return RAUHA_E_CANCELLED;
    int status = 0;
    const std::lock_guard held(mutex_);
    if (children_.erase(*pid) == 0 || ::waitpid(*pid, &status, 0) != *pid) return RAUHA_E_NOT_FOUND;
    out->how = WIFSIGNALED(status) ? RAUHA_SPAWN_SIGNALED : RAUHA_SPAWN_EXITED;
    out->code = static_cast<uint32_t>(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return RAUHA_OK;
  }
  // As the host does after destroy().
  void dropAll() {
    const std::lock_guard held(mutex_);
    for (const pid_t pid : children_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    children_.clear();
  }

 private:
  static std::vector<std::string> textsOf(const rauha_array& array) {
    std::vector<std::string> out;
    for (const std::string_view text : sdk::texts(array)) out.emplace_back(text);
    return out;
  }
  std::optional<pid_t> pidOf(int pidfd) const {
    char text[512] = {};
    const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : ::read(fd, text, sizeof text - 1);
    if (fd >= 0) ::close(fd);
    const char* at = n <= 0 ? nullptr : std::strstr(text, "\nPid:");
    const pid_t pid = at == nullptr ? 0 : static_cast<pid_t>(std::strtol(at + 5, nullptr, 10));
    return children_.count(pid) == 1 ? std::optional(pid) : std::nullopt;
  }
  static std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
  }
  rauha_status launch(const SpawnedProgram& program, const std::map<int, int>& descriptors, rauha_spawn_handle* out) {
    const auto body = replaced_.find(program.program);
    const std::vector<char*> argv = pointers(program.arguments), envp = pointers(program.environment);
    int report[2];
    if (::pipe2(report, O_CLOEXEC) != 0) return RAUHA_E_IO;
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int failed = arrange(descriptors, program.directory, report[1]);
      if (failed == 0 && body != replaced_.end()) {
        ::close(kReport);
        ::_exit(body->second(program));
      }
      if (failed == 0) ::execve(program.program.c_str(), argv.data(), envp.data());
      const int error = failed != 0 ? failed : errno;
      (void)!::write(kReport, &error, sizeof error);
      ::_exit(127);
    }
    ::close(report[1]);
    int error = pid < 0 ? errno : 0;
    if (pid > 0 && ::read(report[0], &error, sizeof error) != sizeof error) error = 0;
    ::close(report[0]);
    if (pid > 0 && error != 0) ::waitpid(pid, nullptr, 0);
    if (error != 0) return error == ENOENT ? RAUHA_E_NOT_FOUND : error == EACCES ? RAUHA_E_DENIED : RAUHA_E_IO;
    children_.insert(pid);
    out->flags = 0;
    out->pid = pid;
    out->pidfd_take = static_cast<int32_t>(::syscall(SYS_pidfd_open, pid, 0));
    return RAUHA_OK;
  }
  static constexpr int kReport = 300, kSpare = 301;
  // In the child: exactly the asked descriptors, default signals. Gives an errno or 0.
  static int arrange(const std::map<int, int>& descriptors, const std::string& directory, int report) {
    ::dup3(report, kReport, O_CLOEXEC);
    std::map<int, int> moved;  // out of the way first: a target may be somebody's source
    int spare = kSpare;
    for (const auto& [number, fd] : descriptors) moved[number] = ::dup2(fd, spare++);
    for (int fd = 0; fd < 3; ++fd)
      if (moved.count(fd) == 0) moved[fd] = ::open("/dev/null", O_RDWR);
    for (const auto& [number, fd] : moved)
      if (number != fd && ::dup2(fd, number) < 0) return errno;
    const long most = ::sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < std::min(most, 4096L); ++fd)
      if (fd != kReport && (fd > 2 || moved.count(fd) == 0) && moved.count(fd) == 0) ::close(fd);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int s = 1; s < 32; ++s) ::signal(s, SIG_DFL);
    ::setsid();
    return ::chdir(directory.c_str()) == 0 ? 0 : errno;
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::function<int(const SpawnedProgram&)>> replaced_;
  std::vector<SpawnedProgram> started_;
  std::set<pid_t> children_;
};

}  // namespace rauha::testing
