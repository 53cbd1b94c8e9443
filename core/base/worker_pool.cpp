#include "core/base/worker_pool.h"

#include <csignal>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace rauha {
namespace {

// Signals belong to the event loop's thread. Faults stay open: blocked, they would end the process without a report.
class BlockSignals final {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, s);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

class WorkerPool::State final {
 public:
  explicit State(size_t threads) : limit_(threads) {}

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& [id, thread] : threads_) thread.join();
  }

  std::optional<Error> enqueue(const std::optional<std::string>& key, std::unique_ptr<Job> job, size_t queueLimit,
                               const std::shared_ptr<State>& self) {
    std::unique_lock lock(mutex_);
    if (waiting_ >= queueLimit + idle()) return fullError(queueLimit);
    if (!key) {
      ready_.push_back({std::nullopt, std::move(job)});
    } else if (const auto stuck = stuck_.find(*key); stuck != stuck_.end()) {
      return stuck->second;
    } else if (auto [at, isFirst] = keys_.try_emplace(*key); isFirst) {
      ready_.push_back({key, std::move(job)});
    } else {
      at->second.push_back(std::move(job));
    }
    ++waiting_;
    if (ready_.size() > threads_.size() - running_ && threads_.size() < limit_) addThread(self);
    lock.unlock();
    wake_.notify_one();
    return std::nullopt;
  }

  bool abandon(std::thread::id id, const Error& why, const std::shared_ptr<State>& self) {
    std::deque<std::unique_ptr<Job>> refused;
    {
      std::lock_guard lock(mutex_);
      const auto thread = threads_.find(id);
      const auto seat = seats_.find(id);
      if (thread == threads_.end() || seat == seats_.end()) return false;
      thread->second.detach();
      threads_.erase(thread);
      --running_;
      ++abandoned_;
      seat->second.abandoned = true;
      seat->second.job->fail(why);
      if (const auto& key = seat->second.key) {
        stuck_.emplace(*key, why);
        refused.swap(keys_.at(*key));
        waiting_ -= refused.size();
      }
      if (!ready_.empty() && threads_.size() < limit_) addThread(self);
    }
    for (auto& job : refused) job->fail(why);
    return true;
  }

  Counts counts() const {
    std::lock_guard lock(mutex_);
    return {threads_.size(), running_, waiting_, abandoned_};
  }

 private:
  // What a thread is doing.
  struct Seat {
    Job* job;
    std::optional<std::string> key;
    bool abandoned = false;
  };
  struct Entry {
    std::optional<std::string> key;
    std::unique_ptr<Job> job;
  };

  // Threads, made or not, that have nothing to do: what they can take at once does not count as waiting.
  size_t idle() const { return limit_ - running_; }

  static Error fullError(size_t limit) {
    return Error("daemon", Code::busy, "the daemon is busy: " + std::to_string(limit) + " calls wait for a worker already",
                 "try again later");
  }

  void addThread(const std::shared_ptr<State>& self) {
    try {
      BlockSignals block;
      std::thread thread([self] { self->work(); });
      threads_.emplace(thread.get_id(), std::move(thread));
    } catch (const std::system_error&) {
      if (threads_.empty())
        throw Error("daemon", Code::limit, "cannot start a worker thread", "raise the limit of processes (RLIMIT_NPROC, pids.max)");
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
      if (ready_.empty()) {
        // At the end, keyed jobs may still wait for the one that another thread runs; that thread goes on with them.
        return;
      }
      Entry entry = std::move(ready_.front());
      ready_.pop_front();
      --waiting_;
      ++running_;
      seats_[std::this_thread::get_id()] = {entry.job.get(), entry.key};
      lock.unlock();
      if (entry.job->wanted()) entry.job->run();
      lock.lock();
      const bool abandoned = seats_.extract(std::this_thread::get_id()).mapped().abandoned;
      lock.unlock();
      entry.job.reset();
      lock.lock();
      if (abandoned) {
        --abandoned_;
        if (entry.key) stuck_.erase(*entry.key);
      } else {
        --running_;
      }
      if (entry.key) releaseKey(*entry.key);
      if (abandoned) return;  // another thread has our place
    }
  }

  // The key's next job goes to the end of the line: one busy zone does not starve the others.
  void releaseKey(const std::string& key) {
    const auto at = keys_.find(key);
    if (at->second.empty()) {
      keys_.erase(at);
      return;
    }
    ready_.push_back({key, std::move(at->second.front())});
    at->second.pop_front();
    wake_.notify_one();
  }

  const size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Entry> ready_;                                       // may run now
  std::map<std::string, std::deque<std::unique_ptr<Job>>> keys_;  // a key is present while one of its jobs is ready or runs
  std::map<std::string, Error> stuck_;                            // keys whose running job was given up
  std::map<std::thread::id, std::thread> threads_;                // without the abandoned
  std::map<std::thread::id, Seat> seats_;                         // of threads that run something
  size_t running_ = 0;                                            // without the abandoned
  size_t abandoned_ = 0;
  size_t waiting_ = 0;
  bool stopping_ = false;
};

WorkerPool::WorkerPool(size_t threads, size_t queueLimit)
    : queueLimit_(queueLimit), state_(std::make_shared<State>(threads == 0 ? 1 : threads)) {}
WorkerPool::~WorkerPool() { state_->stop(); }

std::optional<Error> WorkerPool::enqueue(const std::optional<std::string>& key, std::unique_ptr<Job> job) {
  return state_->enqueue(key, std::move(job), queueLimit_, state_);
}
bool WorkerPool::abandon(std::thread::id thread, const Error& why) { return state_->abandon(thread, why, state_); }
WorkerPool::Counts WorkerPool::counts() const { return state_->counts(); }

}  // namespace rauha
