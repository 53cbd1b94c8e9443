#include "core/base/worker_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/vector.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/base/bounded_run.h"
#include "core/base/coro.h"
#include "core/base/fd.h"

namespace rauha {
namespace {

// A gate that a test opens from the event loop's thread.
class Gate {
 public:
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void awaitArrivals(int n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int arrived_ = 0;
};

class WorkerPoolTest : public testing::Test {
 public:
  ~WorkerPoolTest() noexcept override {}  // KJ's members may throw in theory

 protected:
  kj::AsyncIoContext io = kj::setupAsyncIo();
};

TEST_F(WorkerPoolTest, ReturnsValuesFromAnotherThread) {
  WorkerPool pool(2, 10);
  const auto here = std::this_thread::get_id();
  EXPECT_EQ(pool.counts().threads, 0u);
  const auto there = pool.run([] { return std::this_thread::get_id(); }).wait(io.waitScope);
  EXPECT_NE(here, there);
  EXPECT_EQ(pool.counts().threads, 1u);
  pool.run([] {}).wait(io.waitScope);
}

TEST_F(WorkerPoolTest, TakesAndGivesWhatCannotBeCopied) {
  WorkerPool pool(1, 10);
  UniqueFd end(dup(0));
  const int number = end.get();
  const UniqueFd back = pool.run([end = std::move(end)]() mutable { return std::move(end); }).wait(io.waitScope);
  EXPECT_EQ(back.get(), number);
  EXPECT_GE(fcntl(number, F_GETFD), 0);
}

Task<std::string> describe(kj::Promise<int> promise) {
  try {
    co_await kj::mv(promise);
  } catch (const Error& e) {
    co_return e.errorClass() + "|" + std::string(codeName(e.code())) + "|" + e.text() + "|" + e.hint() + "|" + e.object();
  }
  co_return "no error";
}

TEST_F(WorkerPoolTest, ErrorsArriveWhole) {
  WorkerPool pool(1, 10);
  auto promise = pool.run([]() -> int { throw Error("backend", Code::conflict, "zone zone_x is gone", "delete it", "zone_x"); });
  EXPECT_EQ(describe(kj::mv(promise)).promise().wait(io.waitScope), "backend|conflict|zone zone_x is gone|delete it|zone_x");
}

TEST_F(WorkerPoolTest, OtherExceptionsKeepTheirText) {
  WorkerPool pool(1, 10);
  auto promise = pool.run([]() -> int { throw std::runtime_error("as planned"); });
  try {
    promise.wait(io.waitScope);
    FAIL() << "no exception";
  } catch (const kj::Exception& e) {
    EXPECT_NE(fromKj(e).text().find("as planned"), std::string::npos) << fromKj(e).text();
  }
}

TEST_F(WorkerPoolTest, OneKeyNeverOverlapsAndKeepsItsOrder) {
  WorkerPool pool(4, 1000);
  std::atomic<int> inside{0}, worst{0};
  std::vector<int> order;  // guarded by the key
  kj::Vector<kj::Promise<void>> all;
  for (int i = 0; i < 200; ++i)
    all.add(pool.runSerial("zone_a",
                           [&, i] {
                             const int now = ++inside;
                             if (now > worst) worst = now;
                             order.push_back(i);
                             std::this_thread::yield();
                             --inside;
                             if (i % 7 == 0) throw std::runtime_error("a failed call releases the key too");
                           })
                .catch_([](kj::Exception&&) {}));
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  EXPECT_EQ(worst, 1);
  ASSERT_EQ(order.size(), 200u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(WorkerPoolTest, DifferentKeysRunAtOnce) {
  WorkerPool pool(2, 10);
  Gate gate;
  auto a = pool.runSerial("zone_a", [&] { gate.pass(); });
  auto b = pool.runSerial("zone_b", [&] { gate.pass(); });
  gate.awaitArrivals(2);  // both inside: this would hang if keys excluded each other
  gate.open();
  a.wait(io.waitScope);
  b.wait(io.waitScope);
}

TEST_F(WorkerPoolTest, AWaitingKeyHoldsNoThread) {
  WorkerPool pool(2, 10);
  Gate gate;
  auto first = pool.runSerial("zone_a", [&] { gate.pass(); });
  gate.awaitArrivals(1);
  auto second = pool.runSerial("zone_a", [] { return 2; });
  EXPECT_EQ(pool.run([] { return 3; }).wait(io.waitScope), 3);  // the second thread is free although zone_a has a call in line
  gate.open();
  EXPECT_EQ(second.wait(io.waitScope), 2);
  first.wait(io.waitScope);
}

TEST_F(WorkerPoolTest, AFullQueueRefuses) {
  WorkerPool pool(1, 1);
  Gate gate;
  auto running = pool.run([&] {
    gate.pass();
    return 0;
  });
  gate.awaitArrivals(1);
  auto waiting = pool.run([] { return 1; });
  EXPECT_EQ(describe(pool.run([] { return 2; })).promise().wait(io.waitScope),
            "daemon|busy|the daemon is busy: 1 calls wait for a worker already|try again later|");
  gate.open();
  EXPECT_EQ(waiting.wait(io.waitScope), 1);
  running.wait(io.waitScope);
}

struct Note {
  std::atomic<bool>* flag;
  explicit Note(std::atomic<bool>* f) : flag(f) {}
  Note(Note&& other) noexcept : flag(std::exchange(other.flag, nullptr)) {}
  ~Note() {
    if (flag != nullptr) *flag = true;
  }
};

TEST_F(WorkerPoolTest, ADroppedPromiseLetsARunningCallFinish) {
  std::atomic<bool> finished{false}, freed{false};
  Gate gate;
  {
    WorkerPool pool(1, 10);
    {
      auto promise = pool.run([&, note = Note(&freed)] {
        gate.pass();
        finished = true;
      });
      gate.awaitArrivals(1);
    }
    EXPECT_FALSE(finished);
    gate.open();
  }
  EXPECT_TRUE(finished);
  EXPECT_TRUE(freed);
}

TEST_F(WorkerPoolTest, ADroppedPromiseThatWaitsIsNotRun) {
  std::atomic<bool> ran{false}, freed{false};
  Gate gate;
  {
    WorkerPool pool(1, 10);
    auto running = pool.run([&] { gate.pass(); });
    gate.awaitArrivals(1);
    {
      auto dropped = pool.run([&, note = Note(&freed)] { ran = true; });
    }
    gate.open();
    running.wait(io.waitScope);
  }
  EXPECT_FALSE(ran);
  EXPECT_TRUE(freed);
}

TEST_F(WorkerPoolTest, TheEndDrainsWhatIsAwaited) {
  std::atomic<int> ran{0};
  kj::Vector<kj::Promise<void>> all;
  {
    WorkerPool pool(2, 100);
    for (int i = 0; i < 20; ++i) all.add(pool.runSerial("zone_a", [&] { ++ran; }));
    for (int i = 0; i < 20; ++i) all.add(pool.run([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 40);
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
}

TEST_F(WorkerPoolTest, ThreadsAreReused) {
  WorkerPool pool(8, 10);
  std::set<std::thread::id> ids;
  for (int i = 0; i < 50; ++i) {
    ids.insert(pool.run([] { return std::this_thread::get_id(); }).wait(io.waitScope));
    // A result arrives before its thread has lain down; until then a further one may rightly start.
    while (pool.counts().running > 0) std::this_thread::yield();
  }
  EXPECT_EQ(ids.size(), 1u);
}

TEST_F(WorkerPoolTest, WorkersBlockSignals) {
  WorkerPool pool(1, 10);
  const auto [term, child, segv] =
      pool.run([] {
            sigset_t now;
            pthread_sigmask(SIG_BLOCK, nullptr, &now);
            return std::array<bool, 3>{sigismember(&now, SIGTERM) == 1, sigismember(&now, SIGCHLD) == 1, sigismember(&now, SIGSEGV) == 1};
          })
          .wait(io.waitScope);
  EXPECT_TRUE(term);
  EXPECT_TRUE(child);
  EXPECT_FALSE(segv);
  sigset_t mine;
  pthread_sigmask(SIG_BLOCK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGTERM), 0);
}

TEST_F(WorkerPoolTest, AnAbandonedThreadIsReplacedAndItsKeyRefuses) {
  WorkerPool pool(1, 16);
  Gate gate;
  std::thread::id stuck;
  std::atomic<bool> late{false};
  auto hanging = pool.runSerial("zone", [&] {
    stuck = std::this_thread::get_id();
    gate.pass();
    late = true;
  });
  gate.awaitArrivals(1);
  auto queued = pool.runSerial("zone", [] {});
  auto other = pool.run([] { return 7; });
  const Error why("plugin", Code::deadline, "zone_create of p did not return");
  EXPECT_FALSE(pool.abandon(std::this_thread::get_id(), why));
  EXPECT_TRUE(pool.abandon(stuck, why));
  EXPECT_FALSE(pool.abandon(stuck, why));
  EXPECT_EQ(other.wait(io.waitScope), 7) << "another thread has the place";
  const auto textOf = [&](kj::Promise<void> promise) {
    try {
      promise.wait(io.waitScope);
    } catch (const kj::Exception& e) {
      return fromKj(e).text();
    }
    return std::string("no error");
  };
  EXPECT_EQ(textOf(kj::mv(hanging)), why.text());
  EXPECT_EQ(textOf(kj::mv(queued)), why.text());
  EXPECT_EQ(textOf(pool.runSerial("zone", [] {})), why.text());
  EXPECT_EQ(pool.counts().abandoned, 1u);
  EXPECT_FALSE(late);
  gate.open();
  while (pool.counts().abandoned != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(late);
  EXPECT_EQ(textOf(pool.runSerial("zone", [] {})), "no error") << "it returned after all";
}

TEST_F(WorkerPoolTest, ThePoolMayGoBeforeItsAbandonedThread) {
  Gate gate;
  std::atomic<int> left{0};
  {
    WorkerPool pool(2, 16);
    std::thread::id stuck;
    auto hanging = pool.run([&] {
      const Defer leaving([&] { ++left; });
      stuck = std::this_thread::get_id();
      gate.pass();
    });
    gate.awaitArrivals(1);
    ASSERT_TRUE(pool.abandon(stuck, Error("plugin", Code::deadline, "stuck")));
  }
  gate.open();
  while (left == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// A call into something that never answers: its caller is told, its key is refused, everybody else goes on.
TEST(BoundedRun, WhatNeverReturnsIsGivenUp) {
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  WorkerPool pool(2, 16);
  const Error late("repository", Code::deadline, "it does not answer");
  const auto codeOf = [&](kj::Promise<int> promise) {
    try {
      promise.wait(io.waitScope);
      return Code::none;
    } catch (...) {
      return currentError("test").code();
    }
  };
  const auto block = [fd = reading.get()] {
    char c;
    return static_cast<int>(read(fd, &c, 1));
  };
  EXPECT_EQ(codeOf(runBounded(pool, timer, 50 * kj::MILLISECONDS, "one", late, block)), Code::deadline);
  EXPECT_EQ(pool.counts().abandoned, 1u);
  EXPECT_EQ(codeOf(runBounded(pool, timer, 1 * kj::MINUTES, "one", late, [] { return 1; })), Code::deadline) << "at once";
  EXPECT_EQ(runBounded(pool, timer, 1 * kj::MINUTES, "two", late, [] { return 2; }).wait(io.waitScope), 2);
  writing.reset();
  while (pool.counts().abandoned > 0) timer.afterDelay(kj::MILLISECONDS).wait(io.waitScope);
  EXPECT_EQ(runBounded(pool, timer, 1 * kj::MINUTES, "one", late, [] { return 3; }).wait(io.waitScope), 3);
}

}  // namespace
}  // namespace rauha
