#pragma once
// Boundaries that are made before anybody needs them, so that a task's start need not wait for one.
//
// What does not depend on a policy is made in advance (RAUHA_ZONE_PREPARE of <rauha/backend.h>) under an id that one task gets for its
// zone; nothing is ever given to two. The id is good whatever became of its boundary: the backend makes what is missing. The first task
// wakes the pool; without tasks for a while it gives back what it has. Thread: the event loop's.

#include <kj/async-io.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/base/coro.h"
#include "core/base/worker_pool.h"
#include "core/plugin/backend.h"

namespace rauha {

class ZonePool final : private kj::TaskSet::ErrorHandler {
 public:
  struct Settings {
    uint32_t size = 0;  // so many boundaries wait for a task; 0: no pool
    int64_t idleNs = 30'000'000'000;
  };
  // An id for one zone. What was prepared under it is removed with the object, unless a zone came of it. Must not outlive the pool.
  class Id {
   public:
    Id(ZonePool& pool, std::string id, bool prepared) : pool_(&pool), id_(std::move(id)), prepared_(prepared) {}
    Id(Id&& other) noexcept : pool_(other.pool_), id_(std::move(other.id_)), prepared_(std::exchange(other.prepared_, false)) {}
    Id& operator=(Id&&) = delete;
    ~Id() noexcept;
    const std::string& text() const noexcept { return id_; }
    // The zone stands, and its removal is its owner's affair.
    void used() noexcept { prepared_ = false; }

   private:
    ZonePool* pool_;
    std::string id_;
    bool prepared_;
  };

  // callOptions: for each call of the backend. problem: what to tell of a boundary that could not be made or removed.
  ZonePool(kj::Timer& timer, WorkerPool& workers, plugin::Backend& backend, std::function<plugin::CallOptions()> callOptions,
           std::function<void(const std::string& what, const std::string& reason)> problem);

  void set(Settings settings) noexcept { settings_ = settings; }
  // For a temporary zone that is called by its id. What is taken is made again when the task is under way.
  Id take();
  // For any other zone.
  Id fresh();
  // A zone has just gone, and the processors may have time.
  void nudge() noexcept;
  // Removes everything that waits, for example since host ids are short; resolves when that, and what was on its way out, is gone. The pool
  // goes on after some seconds.
  kj::Promise<void> empty();
  // Makes nothing any more, gives nothing out, and removes what waits.
  void stop();
  // As stop(); resolves when nothing of the pool is left, of what was taken only if its Ids are gone by now. One call at a time.
  kj::Promise<void> close();
  size_t waiting() const noexcept { return waiting_.size(); }
  // Whether empty() would free something.
  bool holds() const noexcept { return !waiting_.empty() || !removing_.empty(); }

 private:
  void taskFailed(kj::Exception&& exception) override;
  Task<void> tend();
  Task<void> make();
  Task<void> remove(std::string id);
  void giveBack(std::string id);
  void giveBackAll();
  kj::Promise<void> woken();

  kj::Timer& timer_;
  WorkerPool& workers_;
  plugin::Backend& backend_;
  std::function<plugin::CallOptions()> callOptions_;
  std::function<void(const std::string&, const std::string&)> problem_;
  Settings settings_;
  std::deque<std::string> waiting_;                          // ids; what is still being made is among them
  std::map<std::string, kj::ForkedPromise<void>> removing_;  // by id; resolves when it is over, however that went
  std::shared_ptr<plugin::CancelToken> making_;
  int64_t takenNs_ = 0;   // the last time; CLOCK_MONOTONIC
  int64_t refillNs_ = 0;  // not before
  bool tending_ = false, closed_ = false;
  bool refused_ = false;  // the backend knows nothing of it
  kj::Own<kj::PromiseFulfiller<void>> wake_;
  kj::TaskSet tasks_;
};

}  // namespace rauha
