#include "plugins/image-oci/ahead.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace rauha::oci {
namespace {

constexpr size_t kBlocks = 4;

class Ahead final : public ByteStream {
 public:
  explicit Ahead(std::unique_ptr<ByteStream> below) : below_(std::move(below)) {
    try {
      thread_ = std::thread([this] { work(); });
    } catch (const std::system_error&) {  // no thread to be had: in turns then
    }
  }
  ~Ahead() override {
    interrupt();
    if (thread_.joinable()) thread_.join();
  }

  void interrupt() noexcept override {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    below_->interrupt();
  }

  std::string_view next() override {
    if (!thread_.joinable()) return below_->next();
    std::unique_lock<std::mutex> lock(mutex_);
    if (current_.capacity() > 0) spare_.push_back(std::move(current_));
    changed_.wait(lock, [this] { return !ready_.empty() || done_; });
    if (ready_.empty()) {
      if (failure_) std::rethrow_exception(failure_);
      return {};
    }
    current_ = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return current_;
  }

 private:
  void work() noexcept {
    std::exception_ptr failure;
    try {
      for (std::string_view block; !(block = below_->next()).empty();)
        if (!put(block)) break;
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      done_ = true;
      failure_ = failure;
    }
    changed_.notify_all();
  }
  bool put(std::string_view block) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ready_.size() < kBlocks || stop_; });
    if (stop_) return false;
    std::string own;
    if (!spare_.empty()) {
      own = std::move(spare_.back());
      spare_.pop_back();
    }
    lock.unlock();
    own.assign(block);
    lock.lock();
    ready_.push_back(std::move(own));
    lock.unlock();
    changed_.notify_all();
    return true;
  }

  std::unique_ptr<ByteStream> below_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> ready_;
  std::vector<std::string> spare_;
  std::string current_;
  std::exception_ptr failure_;
  bool done_ = false, stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ByteStream> ahead(std::unique_ptr<ByteStream> below) { return std::make_unique<Ahead>(std::move(below)); }

}  // namespace rauha::oci
