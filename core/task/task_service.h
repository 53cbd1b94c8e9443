#pragma once
// Sandbox tasks: prepare, run, collect, clean up; one result document each.
//
// A task never outlives its zone unless the zone is kept, and its zone never outlives it. The TaskService owns the running tasks: a client
// that goes away cancels its task, and the clean-up goes on without it. Every failure becomes a result; nothing is thrown at a client.
// Thread: the event loop.

#include <capnp/message.h>
#include <schemas/client.capnp.h>
#include <schemas/task.capnp.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/base/coro.h"
#include "core/base/error.h"
#include "core/base/worker_pool.h"
#include "core/evidence/event_bus.h"
#include "core/image/rootfs_plan.h"
#include "core/plugin/image_source.h"
#include "core/rpc/connection.h"
#include "core/store/store.h"
#include "core/task/capture.h"
#include "core/task/client_files.h"
#include "core/task/task_changes.h"
#include "core/zone/zone_service.h"

namespace rauha {

// What a client asked for, with its descriptors duplicated: a value of our own, independent of the message and the connection.
struct TaskRequest {
  std::string id;  // newId("task")
  std::string platform, imageCredentials;
  plugin::Pull pull = plugin::Pull::missing;
  kj::Maybe<schema::ImageProgress::Client> imageProgress;
  std::string image, zoneName, policyToml, policySource, repoPath, from, workdir, user;
  std::vector<std::string> argv, env, waived;
  schema::RepoMode repoMode = schema::RepoMode::NONE;
  UniqueFd repo, imageSource;
  uint64_t timeoutMs = 0;
  bool keepZone = false, terminal = false, stdin = false, trace = false;
  uint16_t rows = 0, columns = 0;
  rpc::Peer peer;
  std::optional<Error> refusal;  // the request could not be taken as it was: the task ends with this, and nothing is built
  kj::Maybe<schema::ByteSink::Client> stdoutSink, stderrSink;
  kj::Maybe<schema::CopyProgress::Client> copyProgress;
};

// One task that runs. Shared by the service and the client's handle.
class RunningTask final {
 public:
  explicit RunningTask(TaskRequest r);
  TaskRequest request;
  // Resolves with the result document; any number of waiters.
  kj::Promise<std::shared_ptr<capnp::MallocMessageBuilder>> result() { return done_.addBranch(); }
  // Asks the task to end: `signal` goes to its process, then, after the policy's grace, the zone is killed. 0: killed at once.
  // Later calls shorten the grace to nothing. why: for the event, of the first call; "" for "signal N".
  void cancel(int signal, std::string why = {});
  void resize(uint16_t rows, uint16_t columns);
  schema::ByteSink::Client stdin();

 private:
  friend class TaskRun;
  friend class TaskService;
  kj::PromiseFulfillerPair<std::shared_ptr<capnp::MallocMessageBuilder>> pair_;
  kj::ForkedPromise<std::shared_ptr<capnp::MallocMessageBuilder>> done_;
  kj::PromiseFulfillerPair<void> cancelled_;
  kj::ForkedPromise<void> cancelRequested_;
  kj::PromiseFulfillerPair<void> cancelledTwice_;
  kj::ForkedPromise<void> killRequested_;
  kj::PromiseFulfillerPair<schema::ByteSink::Client> stdin_;
  kj::Maybe<schema::ByteSink::Client> stdinClient_;
  std::shared_ptr<plugin::CancelToken> token_;
  kj::Maybe<schema::Process::Client> process_;
  int signal_ = 0;
  std::string cancelReason_;
  bool cancelling_ = false;
  bool finished_ = false;  // its result is out
};

class TaskService final : private kj::TaskSet::ErrorHandler {
 public:
  // All references outlive the service.
  // imageWorkers: only for making images ready, so that slow images never hold up zones.
  TaskService(kj::Timer& timer, WorkerPool& workers, WorkerPool& imageWorkers, plugin::ImageSource& images, ZoneService& zones,
              store::Store& store, evidence::EventBus& events, changes::ChangeStore& changes);
  // Begins; returns at once. Recorded in the store before anything is built.
  // zoneId: of its zone, when not null.
  std::shared_ptr<RunningTask> run(TaskRequest request, std::string* zoneId = nullptr);
  // Closes the records of tasks whose daemon died. Once at start. Returns how many.
  size_t reconcile();
  // For giving leases back: neither behind images that take minutes nor before zones.
  WorkerPool& leaseWorkers() noexcept { return leaseWorkers_; }
  const WorkerPool& leaseWorkers() const noexcept { return leaseWorkers_; }
  const WorkerPool& clientWorkers() const noexcept { return clientFiles_.workers(); }
  // How many finished tasks stay on record. 0: all. Applied after a task, once a sixteenth more than that may have gathered: it looks at
  // all of them.
  void setHistory(size_t tasks) noexcept { history_ = tasks; }
  // The largest result; what would be larger is shortened, and says so.
  void setResultLimit(size_t bytes) noexcept { resultLimit_ = bytes; }
  // Also those that have their result, while what they leave is swept away.
  size_t running() const noexcept { return running_.size(); }
  // Whose result is still to come.
  size_t unfinished() const noexcept;
  bool usesZone(const std::string& zoneId) const;
  // Ends the image lease of a zone that a task left behind on purpose (keepZone). Idempotent.
  Task<void> releaseImage(std::string zoneId);
  // The same, some seconds from now and a few times: for a lease that could not be ended when its zone was.
  void releaseImageLater(const std::string& zoneId);
  // Cancels everything that runs and resolves when it is cleaned up.
  kj::Promise<void> drain();

 private:
  friend class TaskRun;
  void taskFailed(kj::Exception&& exception) override;
  void keepHistory() noexcept;
  void keepHistorySoon();  // not before the answer
  kj::Timer& timer_;
  WorkerPool& workers_;
  WorkerPool& imageWorkers_;
  plugin::ImageSource& images_;
  ZoneService& zones_;
  store::Store& store_;
  evidence::EventBus& events_;
  ChangeServices changes_;
  WorkerPool leaseWorkers_{2, 4096};
  // Reading what a task wrote takes as long as the task made it take; zones of others must not wait for it.
  WorkerPool collectors_{2, 4096};
  ClientFiles clientFiles_;
  static constexpr size_t kMostWaitingBytes = 64u << 20;
  size_t sweeping_ = 0;            // zones whose tasks do not wait for them
  bool strays_ = false;            // a record may be open whose task is over
  std::set<std::string> waiting_;  // tasks whose results the store did not take yet
  size_t waitingBytes_ = 0;        // of results that the store did not take yet
  size_t finishedSince_ = 0;       // the history was last applied
  size_t history_ = 0, resultLimit_ = rpc::kMostResultBytes;
  std::map<std::string, std::shared_ptr<RunningTask>> running_;
  std::map<std::string, std::string> zoneOfTask_;
  Task<void> keepReleasing(std::string zoneId);
  // Writes down how a task ended, when the store could not take it at once (no memory, no room). False: too much waits for that already;
  // the next start closes the record, as it does with what the store never took.
  bool finishLater(const std::string& taskId, const std::string& status, int64_t finishedNs, std::string_view result);
  Task<void> keepTrying(std::function<void()> write);
  void closeStrays() noexcept;
  // A task that came to no result.
  void close(const std::string& taskId, const std::string& zoneId, const std::string& why);
  void closeLater(const std::string& taskId, const std::string& zoneId);
  kj::TaskSet tasks_;
  kj::TaskSet later_;  // nobody waits for these
};

}  // namespace rauha
