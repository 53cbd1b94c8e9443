#include "core/plugin/service_thread.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::plugin {
namespace {

constexpr uint64_t kWake = 0;  // numbers in epoll that are no item's
constexpr uint64_t kAlarm = 1;
constexpr uint64_t kFirstNumber = 2;
constexpr auto kStopPatience = std::chrono::seconds(2);

uint32_t toEpoll(uint32_t events) noexcept {
  return ((events & RAUHA_WATCH_READABLE) != 0 ? uint32_t{EPOLLIN} : 0u) | ((events & RAUHA_WATCH_WRITABLE) != 0 ? uint32_t{EPOLLOUT} : 0u);
}

uint32_t fromEpoll(uint32_t events) noexcept {
  return ((events & EPOLLIN) != 0 ? RAUHA_WATCH_READABLE : 0u) | ((events & EPOLLOUT) != 0 ? RAUHA_WATCH_WRITABLE : 0u) |
         ((events & (EPOLLHUP | EPOLLERR)) != 0 ? RAUHA_WATCH_HUNG_UP : 0u);
}

int64_t after(int64_t now, int64_t ns) noexcept { return ns > INT64_MAX - now ? INT64_MAX : now + ns; }

}  // namespace

class ServiceThread::State final {
 public:
  State()
      : epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        alarm_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    if (!epoll_ || !wake_ || !alarm_) throwErrno("plugin", "make what the service thread waits on");
    listen(wake_.get(), EPOLLIN, kWake);
    listen(alarm_.get(), EPOLLIN, kAlarm);
  }

  void start(const rauha_timer_request& request, uint64_t* number, const std::shared_ptr<State>& self) {
    std::lock_guard lock(mutex_);
    ready(timers_.size(), RAUHA_TIMER_MAX, "timers", self);
    *number = next_++;
    timers_[*number] = {request.fire, request.context, after(monotonicNs(), request.after_ns), request.every_ns};
    wakeUp();
  }

  void add(const rauha_watch_request& request, uint64_t* number, const std::shared_ptr<State>& self) {
    std::lock_guard lock(mutex_);
    ready(watches_.size(), RAUHA_WATCH_MAX, "watches", self);
    UniqueFd fd = duplicate(request.fd_borrow);
    listen(fd.get(), toEpoll(request.events), next_);
    *number = next_++;
    watches_[*number] = {request.ready, request.context, std::move(fd), (request.flags & RAUHA_WATCH_ONCE) != 0};
  }

  void forget(uint64_t number) noexcept {
    std::unique_lock lock(mutex_);
    timers_.erase(number);
    dropWatch(number);
    if (std::this_thread::get_id() == thread_) return;
    idle_.wait(lock, [&] { return running_ != number; });
  }

  void stop() noexcept {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    timers_.clear();
    while (!watches_.empty()) dropWatch(watches_.begin()->first);
    wakeUp();
    if (std::this_thread::get_id() == thread_) return;
    idle_.wait_for(lock, kStopPatience, [&] { return running_ == 0; });
  }

  int64_t callbackSinceNs() const noexcept { return since_.load(std::memory_order_relaxed); }

 private:
  struct Timer {
    decltype(rauha_timer_request::fire) fire;
    void* context;
    int64_t dueNs, everyNs;
  };
  struct Watch {
    decltype(rauha_watch_request::ready) ready;
    void* context;
    UniqueFd fd;
    bool once;
  };

  void listen(int fd, uint32_t events, uint64_t number) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = number;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return;
    const int error = errno;
    if (error == EPERM)
      throw Error("plugin", Code::unsupported,
                  "descriptor " + std::to_string(fd) + " cannot be waited for: it is a regular file or directory");
    throw osError("plugin", "watch a descriptor", error);
  }
  void dropWatch(uint64_t number) noexcept {
    const auto it = watches_.find(number);
    if (it == watches_.end()) return;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.fd.get(), nullptr);
    watches_.erase(it);
  }
  void wakeUp() noexcept { eventfd_write(wake_.get(), 1); }

  void ready(size_t count, size_t limit, const char* what, const std::shared_ptr<State>& self) {
    if (stopping_) throw Error("plugin", Code::conflict, "the plugin is being ended");
    if (count >= limit) throw Error("plugin", Code::limit, "more than " + std::to_string(limit) + " " + what);
    if (started_) return;
    sigset_t all, before;
    sigfillset(&all);
    for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, s);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to the event loop
    const Defer restore([&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
    std::thread thread([self] { self->work(); });
    thread_ = thread.get_id();
    thread.detach();
    started_ = true;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      setAlarm();
      lock.unlock();
      std::array<epoll_event, 16> events{};
      const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      lock.lock();
      for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<size_t>(i)];
        if (event.data.u64 >= kFirstNumber)
          runWatch(event.data.u64, fromEpoll(event.events), lock);
        else
          drain(event.data.u64 == kWake ? wake_.get() : alarm_.get());
      }
      runTimers(lock);
    }
  }

  static void drain(int fd) noexcept {
    uint64_t count = 0;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
  }

  void setAlarm() noexcept {
    int64_t due = INT64_MAX;
    for (const auto& [number, timer] : timers_) due = std::min(due, timer.dueNs);
    itimerspec spec{};
    if (due != INT64_MAX) {
      due = std::max<int64_t>(due, 1);  // zero would disarm
      spec.it_value = {due / 1'000'000'000, due % 1'000'000'000};
    }
    timerfd_settime(alarm_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
  }

  template <typename F>
  void run(uint64_t number, std::unique_lock<std::mutex>& lock, F&& callback) {
    running_ = number;
    since_.store(monotonicNs(), std::memory_order_relaxed);
    lock.unlock();
    callback();
    lock.lock();
    running_ = 0;
    since_.store(0, std::memory_order_relaxed);
    idle_.notify_all();
  }

  void runWatch(uint64_t number, uint32_t events, std::unique_lock<std::mutex>& lock) {
    const auto it = watches_.find(number);  // may have gone since epoll_wait
    if (stopping_ || it == watches_.end() || events == 0) return;
    const auto ready = it->second.ready;
    void* const context = it->second.context;
    if (it->second.once) dropWatch(number);
    run(number, lock, [&] { ready(context, number, events); });
  }

  void runTimers(std::unique_lock<std::mutex>& lock) {
    const int64_t now = monotonicNs();
    for (;;) {
      const auto it = std::find_if(timers_.begin(), timers_.end(), [&](const auto& t) { return t.second.dueNs <= now; });
      if (stopping_ || it == timers_.end()) return;
      const uint64_t number = it->first;
      const Timer timer = it->second;
      uint64_t times = 1;
      if (timer.everyNs > 0) {
        times += static_cast<uint64_t>((now - timer.dueNs) / timer.everyNs);
        it->second.dueNs = timer.dueNs + static_cast<int64_t>(times) * timer.everyNs;  // in the future, so that others have their turn
      } else {
        it->second.dueNs = INT64_MAX;
      }
      run(number, lock, [&] { timer.fire(timer.context, number, times); });
      if (timer.everyNs == 0) timers_.erase(number);
    }
  }

  UniqueFd epoll_, wake_, alarm_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::map<uint64_t, Timer> timers_;
  std::map<uint64_t, Watch> watches_;
  std::thread::id thread_;
  uint64_t next_ = kFirstNumber;
  uint64_t running_ = 0;  // whose callback runs
  std::atomic<int64_t> since_{0};
  bool started_ = false, stopping_ = false;
};

ServiceThread::ServiceThread() : state_(std::make_shared<State>()) {}
ServiceThread::~ServiceThread() { state_->stop(); }
void ServiceThread::start(const rauha_timer_request& request, uint64_t* number) { state_->start(request, number, state_); }
void ServiceThread::add(const rauha_watch_request& request, uint64_t* number) { state_->add(request, number, state_); }
void ServiceThread::cancelTimer(uint64_t number) noexcept { state_->forget(number); }
void ServiceThread::removeWatch(uint64_t number) noexcept { state_->forget(number); }
void ServiceThread::stop() noexcept { state_->stop(); }
int64_t ServiceThread::callbackSinceNs() const noexcept { return state_->callbackSinceNs(); }

}  // namespace rauha::plugin
