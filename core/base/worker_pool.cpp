#include "core/base/worker_pool.h"

#include <csignal>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

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

  ~State() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  bool enqueue(const std::optional<std::string>& key, std::unique_ptr<Job> job, size_t queueLimit) {
    std::unique_lock lock(mutex_);
    if (waiting_ >= queueLimit + idle()) return false;
    if (!key) {
      ready_.push_back({std::nullopt, std::move(job)});
    } else if (auto [at, isFirst] = keys_.try_emplace(*key); isFirst) {
      ready_.push_back({key, std::move(job)});
    } else {
      at->second.push_back(std::move(job));
    }
    ++waiting_;
    if (ready_.size() > threads_.size() - running_ && threads_.size() < limit_) addThread();
    lock.unlock();
    wake_.notify_one();
    return true;
  }

  Counts counts() const {
    std::lock_guard lock(mutex_);
    return {threads_.size(), running_, waiting_};
  }

 private:
  struct Entry {
    std::optional<std::string> key;
    std::unique_ptr<Job> job;
  };

  // Threads, made or not, that have nothing to do: what they can take at once does not count as waiting.
  size_t idle() const { return limit_ - running_; }

  void addThread() {
    try {
      BlockSignals block;
      threads_.emplace_back([this] { work(); });
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
      lock.unlock();
      if (entry.job->wanted()) entry.job->run();
      entry.job.reset();
      lock.lock();
      --running_;
      if (entry.key) releaseKey(*entry.key);
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
  std::vector<std::thread> threads_;
  size_t running_ = 0;
  size_t waiting_ = 0;
  bool stopping_ = false;
};

WorkerPool::WorkerPool(size_t threads, size_t queueLimit)
    : queueLimit_(queueLimit), state_(std::make_unique<State>(threads == 0 ? 1 : threads)) {}
WorkerPool::~WorkerPool() = default;

bool WorkerPool::enqueue(const std::optional<std::string>& key, std::unique_ptr<Job> job) {
  return state_->enqueue(key, std::move(job), queueLimit_);
}
WorkerPool::Counts WorkerPool::counts() const { return state_->counts(); }

Error WorkerPool::fullError(size_t limit) {
  return Error("daemon", Code::busy, "the daemon is busy: " + std::to_string(limit) + " calls wait for a worker already",
               "try again later");
}

}  // namespace rauha
