#pragma once
// What a RemotePlugin does on its own event loop. Everything here belongs to that one thread; only `executor` is for others.

#include <kj/async-io.h>

#include <deque>
#include <memory>
#include <set>
#include <string>

#include "core/base/coro.h"
#include "core/plugin/remote/host_process.h"
#include "core/plugin/remote/remote_plugin.h"

namespace rauha::plugin {

class RemotePlugin::Loop final {
 public:
  explicit Loop(RemotePlugin& owner);
  KJ_DISALLOW_COPY(Loop);

  // Returns after stop(), when the process is dead and every call has failed.
  void runUntilStopped();
  void stop() { stop_.fulfiller->fulfill(); }
  // Starts the process unless it runs.
  Task<void> ensureRunning();
  Task<ImageReply> ask(rauha_call* call, const ImageQuestion& question);

  kj::Own<const kj::Executor> executor;

 private:
  using Process = std::shared_ptr<HostProcess>;

  Task<void> start();
  Task<void> waitBeforeStart();
  Task<void> load(Process process);
  Task<void> reconcileAfterStart(Process process);
  Task<void> endOf(Process process);
  Task<ImageReply> send(Process process, rauha_call* call, const ImageQuestion& question);
  kj::Promise<ImageReply> request(HostProcess& process, const ImageQuestion& question, uint64_t id, int64_t deadlineNs,
                                  schema::Progress::Client progress);
  // Kills the process when the call does not return in time after its deadline, or after it was cancelled. Held while the call runs.
  kj::Promise<void> guard(Process process, rauha_call* call, uint64_t id, const char* method);
  kj::Promise<void> killAfter(Process process, int64_t delayNs, std::string why);
  void checkLoaded(schema::LoadedPlugin::Reader plugin);
  void noteEnd(const HostProcess& process);
  Error endError(const HostProcess& process, const std::string& during) const;
  bool holdsNothing(const ImageQuestion& question) const;

  RemotePlugin& owner_;
  kj::AsyncIoContext io_;
  kj::Timer& timer_;
  Process process_;    // loaded, and running as far as is known
  Process beginning_;  // started, not yet loaded
  bool starting_ = false, stopping_ = false;
  size_t asks_ = 0;
  kj::ForkedPromise<void> start_ = nullptr;
  kj::Promise<void> endWatch_ = kj::NEVER_DONE;
  std::deque<int64_t> ends_;  // monotonic, oldest first
  std::set<std::string> leases_;
  bool reconciled_ = false;
  uint64_t lastId_ = 0;
  kj::PromiseFulfillerPair<void> stop_ = kj::newPromiseAndFulfiller<void>();
};

}  // namespace rauha::plugin
