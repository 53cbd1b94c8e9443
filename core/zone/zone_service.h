#pragma once
// Zones: made step by step with a way back for each step, kept in the store, taken down in reverse, found again after a restart.
//
// The store says what should exist, the kernel what does: intent is written before the act and confirmed after it, so that reconcile() can
// undo what was cut off anywhere. One Zone object per living zone. Thread: the event loop; the backend's blocking calls run on workers, one
// at a time per zone.

#include <kj/async-io.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/coro.h"
#include "core/base/worker_pool.h"
#include "core/evidence/event_bus.h"
#include "core/plugin/backend.h"
#include "core/policy/policy.h"
#include "core/store/store.h"
#include "core/zone/agent_client.h"
#include "core/zone/enforcement.h"
#include "core/zone/posture.h"
#include "core/zone/undo.h"
#include "core/zone/zone_pool.h"

namespace rauha {

enum class ZoneState { creating, ready, deleting, failed };
const char* zoneStateName(ZoneState state);

// One zone that exists. Shared: by the service and by whoever runs something in it.
struct Zone {
  explicit Zone(policy::Policy p) : policy(std::move(p)) {}
  std::string id, name, taskId;
  policy::Policy policy;
  ZoneState state = ZoneState::creating;
  bool temporary = false;
  uint32_t ownerUid = 0;
  int64_t createdNs = 0;
  int shimPid = 0;
  uint32_t idBase = 0, idCount = 0;
  std::string backend;
  UniqueFd cgroup;         // directory in the v2 tree; none: the backend gave none
  std::string cgroupPath;  // set when an enforcer was told of it
  Posture posture;
  std::unique_ptr<AgentClient> agent;  // null: not connected (failed)
};

// How many processes run in the zone beside its init; nothing when its backend gave no group to look into.
std::optional<size_t> processesIn(const Zone& zone);

struct ZoneRequest {
  std::string id;    // from newId("zone")
  std::string name;  // empty: the id's
  policy::Policy policy;
  bool temporary = false;  // removed by reconcile when the daemon died; its shim ends with our connection
  std::string taskId;
  uint32_t ownerUid = 0;
  bool noSuidBits = false;          // the repository is writable: no set-user-ID bits, no file capabilities (setfcap is dropped)
  std::vector<std::string> waived;  // required layers that may be missing
};

class ZoneService final : private kj::TaskSet::ErrorHandler {
 public:
  // All references outlive the service. enforcer: null when none is configured.
  ZoneService(kj::LowLevelAsyncIoProvider& io, WorkerPool& workers, plugin::Backend& backend, store::Store& store,
              evidence::EventBus& events, std::string stateDir, plugin::Enforcer* enforcer = nullptr);

  // On failure everything that was done is undone again, and the error says which step failed. What could not be undone stays as a
  // zone that is `failed` and can be deleted again.
  Task<std::shared_ptr<Zone>> create(ZoneRequest request);
  // Ends everything in the zone and removes it. Idempotent. On failure the zone stays as `failed` and can be deleted again.
  Task<void> destroy(std::string id);
  // As destroy(), for a temporary zone whose processes have all ended: nobody need wait for the rest. From now on find() and list() do not
  // know it, and who wants its name, or what it still holds, waits for it. A failure is told as an event and tried again; the zone is then
  // known again, as failed. Never throws.
  Task<void> sweep(std::string id);
  // For a task's zone. A boundary may wait under it if the zone is temporary and has no name of its own.
  ZonePool::Id takeId(bool likely) { return likely ? pool_.take() : pool_.fresh(); }
  void setPool(ZonePool::Settings settings) noexcept { pool_.set(settings); }
  size_t prepared() const noexcept { return pool_.waiting(); }
  // Nothing is made ahead any more.
  void stopPool() { pool_.stop(); }
  // Resolves when nothing waits for a task any more. After the tasks: one that ends before its zone gives back what it took.
  kj::Promise<void> closePool() { return pool_.close(); }
  // By id or name; throws Error "zone" (notFound).
  std::shared_ptr<Zone> find(const std::string& idOrName) const;
  std::vector<std::shared_ptr<Zone>> list() const;
  // For bounding what a zone's agent is asked.
  kj::Timer& timer() { return io_.getTimer(); }
  // Changes the limits of a living zone. Throws Error "policy" naming the first key that cannot change.
  Task<void> apply(std::shared_ptr<Zone> zone, policy::Policy next);
  // Once at start, before clients are served: adopts, undoes, removes; each finding is an event. Returns how many things were removed.
  Task<size_t> reconcile();
  Enforcement& enforcement() noexcept { return enforcement_; }
  // How long a call of the backend or the enforcer may take.
  void setCallTimeout(int64_t ns) noexcept {
    callNs_ = ns;
    enforcement_.setCallTimeout(ns);
  }
  // Shown in every posture.
  void setPlugins(std::vector<PluginInUse> plugins, std::vector<std::string> unsafePlaces) {
    plugins_ = std::move(plugins);
    unsafePlugins_ = std::move(unsafePlaces);
  }
  // Writes down what is armed by now, for the next daemon. A temporary zone has none.
  void recordPosture(const Zone& zone);
  bool busy() const noexcept { return !zones_.empty() || inFlight_ > 0; }
  // There is one when the policy keeps the scratch on disk.
  std::string scratchDirectory(const std::string& zoneId) const { return stateDir_ + "/zones/" + zoneId; }

 private:
  void taskFailed(kj::Exception&& exception) override;
  Task<void> build(std::shared_ptr<Zone> zone, ZoneRequest& request, Undo& undo);
  Task<plugin::ZoneHandle> makeBoundary(plugin::ZoneSpec spec);
  // Resolves when no zone of this name is being swept; of no name: none at all of those that are now.
  kj::Promise<void> swept(const std::string& name) const;
  Task<void> takeDown(std::string id);
  Task<void> adopt(store::ZoneRow row);
  Task<void> stopUnguarded(std::shared_ptr<Zone> zone);
  Task<void> reconcileEnforcer(std::vector<std::string> keep);
  Task<size_t> removeStrangers(std::vector<std::string> keep);
  void watch(std::shared_ptr<Zone> zone);
  void emit(std::string_view name, evidence::Severity severity, const std::string& zoneId, const std::string& taskId, std::string message,
            std::vector<std::pair<std::string, std::string>> attributes = {});
  void emitFailed(const std::string& zoneId, const std::string& taskId, const std::string& what, const std::string& reason);
  void restorePosture(Zone& zone, const store::ZoneRow& row, const plugin::ZoneHandle& handle);
  plugin::CallOptions callOptions() const;
  void forget(const std::shared_ptr<Zone>& zone) noexcept;
  void keepAsFailed(const std::shared_ptr<Zone>& zone) noexcept;
  Task<void> tryAgain(std::string id);
  plugin::ZoneSpec specOf(const Zone& zone, const ZoneRequest& request) const;

  kj::LowLevelAsyncIoProvider& io_;
  WorkerPool& workers_;
  plugin::Backend& backend_;
  store::Store& store_;
  evidence::EventBus& events_;
  std::string stateDir_;
  Enforcement enforcement_;
  std::vector<PluginInUse> plugins_;
  std::vector<std::string> unsafePlugins_;
  // A boundary takes milliseconds; whoever needs this long is stuck, and waiting on would block the zone's queue for ever.
  int64_t callNs_ = 30'000'000'000;
  std::map<std::string, std::shared_ptr<Zone>> zones_;
  mutable std::map<std::string, kj::ForkedPromise<void>> sweeping_;  // by id; resolves when it is over, however that went
  size_t inFlight_ = 0;
  std::set<std::string> tryingAgain_;
  ZonePool pool_;
  kj::TaskSet watches_;
};

}  // namespace rauha
