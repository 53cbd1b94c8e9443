#pragma once
// The kept change sets of an instance: <state>/changes/<task id>/{layer/,manifest}, and what the store knows about them.
//
// A set is collected into <state>/changes/.new-<task id> and gets its name when it is complete: whatever else is there at a start is
// removed. Who reads one (a client's ChangeSetReader, a follow-up whose zone has the layer mounted) holds a lease: a set that is deleted or
// expires meanwhile gets out of sight at once and goes when its last lease does. One that a follow-up uses never expires.
//
// Owner: the daemon. Thread: the event loop; trees are removed on worker threads. Leases die on the event loop's thread, before or
// after the ChangeStore.

#include <kj/async.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/coro.h"
#include "core/base/fd.h"
#include "core/base/worker_pool.h"
#include "core/changes/change.h"
#include "core/changes/collector.h"
#include "core/store/store.h"

namespace rauha::changes {

// [changes] of rauha.toml.
struct Retention {
  int64_t keepNs = 7LL * 24 * 3600 * 1'000'000'000;  // 0: no limit by age
  uint64_t keepBytes = 2ULL << 30;                   // 0: no limit by size
};
struct Settings {
  Retention retention;
  Limits limits;
  std::vector<std::string> protectedPatterns;
};

class Lease;

// What a follow-up needs of its predecessor.
struct LayerInfo {
  UniqueFd layer;                   // the directory, O_RDONLY: lower layer (mapping "zone") and Input::predecessor
  BaseTree base;                    // the follow-up's repository must be this one (device, inode); Input::startedNs is its startedNs
  uint32_t runUid = 0, runGid = 0;  // the follow-up's run user must have these ids, or the layer's files would change hands
  std::shared_ptr<Lease> lease;     // to be held until the follow-up is collected
};

// Where a set is being collected. Dropped without commit() or abort(): removed at the next start.
struct Destination {
  std::string taskId;
  UniqueFd directory;  // Input::destination
};

class ChangeStore final : private kj::TaskSet::ErrorHandler {
 public:
  // Makes <stateDirectory>/changes, mode 0700. All references outlive it. problem: called with a line for the log when something could not
  // be removed.
  ChangeStore(const std::string& stateDirectory, store::Store& store, WorkerPool& workers, Settings settings,
              std::function<void(std::string)> problem);
  ~ChangeStore() noexcept(false);
  ChangeStore(const ChangeStore&) = delete;
  ChangeStore& operator=(const ChangeStore&) = delete;

  // What the configuration says about collecting: limits and protected patterns.
  void prepare(Input& input) const;
  // An empty directory for this task's set. Throws Error "repository" (io, limit, exists).
  Destination begin(const std::string& taskId);
  // After collect(), kept or not: gives the set its name, records it, and applies the retention. The task's own record must exist.
  void commit(Destination destination, const ChangeSet& set);
  // Removes what was collected, later. Never throws.
  void abort(Destination destination) noexcept;

  // The kept layer of a finished task. forFollowUp of the lease: it does not expire meanwhile.
  // Throws Error "repository": notFound (no set, or no longer there), unsupported (the layer cannot be mounted).
  LayerInfo openLayer(std::string_view taskId);

  // A set to read. Throws as openLayer.
  struct Opened {
    UniqueFd directory;  // with the manifest
    UniqueFd layer;      // of a mount that is read-only and runs nothing: what is opened beneath it may be given to a client
    std::shared_ptr<Lease> lease;
  };
  Opened open(std::string_view taskId);

  // False: there is none.
  bool isKept(std::string_view taskId) const;
  // The set goes, its record stays (keptBytes 0). Idempotent.
  void drop(std::string_view taskId);
  // The set and its record go. Idempotent. The task's own record is the caller's.
  void forget(std::string_view taskId);

  // Kept sets that a retention would take, oldest first; those of running follow-ups are not among them. among: which sets are looked at
  // at all, and counted; empty: every one. For want of size, the sets of whoever owns the task `newest` come first, and then those of the
  // user who has most: nobody's sets push out what others have as long as his own can go. `newest` itself stays.
  std::vector<std::string> expired(const Retention& retention, const std::function<bool(const std::string& taskId)>& among = {},
                                   const std::string& newest = {}) const;
  const Retention& retention() const noexcept { return settings_.retention; }
  // Drops what the configured retention takes. Returns how many.
  size_t retain();

  // Once at start, when no task runs: removes half-written sets, those without a record or a task, and records whose set is gone. Returns
  // what was removed, for events. Then applies the retention.
  Task<std::vector<std::string>> reconcile();
  // Resolves when every removal that was begun is done.
  kj::Promise<void> drain();

 private:
  friend class Lease;
  struct State;
  void taskFailed(kj::Exception&& exception) override;
  void takeAway(const std::string& taskId);
  void remove(std::string name);
  std::shared_ptr<Lease> lease(const std::string& taskId, bool forFollowUp);

  store::Store& store_;
  WorkerPool& workers_;
  const Settings settings_;
  const std::function<void(std::string)> problem_;
  std::shared_ptr<State> state_;
  kj::TaskSet removals_;
};

}  // namespace rauha::changes
