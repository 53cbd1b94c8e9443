// The part of ZoneService that runs once at start: what an earlier daemon left is adopted, undone or removed, and each finding is an event.

#include <filesystem>
#include <set>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/evidence/names.h"
#include "core/zone/zone_service.h"

namespace rauha {
namespace {

namespace names = evidence::names;
using evidence::Severity;

// What an earlier daemon left may hang on processes that die slowly.
constexpr int64_t kReconcileDeadlineNs = 60'000'000'000;

plugin::CallOptions reconcileOptions() {
  plugin::CallOptions options;
  options.deadlineNs = monotonicNs() + kReconcileDeadlineNs;
  return options;
}

}  // namespace

// What was armed is known by the daemon that saw it done: it wrote it down.
void ZoneService::restorePosture(Zone& zone, const store::ZoneRow& row, const plugin::ZoneHandle& handle) {
  if (auto recorded = unpackPosture(row.layers)) {
    zone.posture = std::move(*recorded);
    return;
  }
  zone.posture = boundaryPosture(handle.layers, zone.policy.get(), handle.idBase, handle.idCount, backend_.name());
  for (auto& layer : zone.posture.layers)
    if (layer.state == plugin::LayerState::missing) layer.reason = "not recorded when the zone was made";
}

// What runs in the zone was started under an enforcer, and must not go on without. Frozen it keeps its state, and can be deleted; where
// nobody can freeze it, it is ended.
Task<void> ZoneService::stopUnguarded(std::shared_ptr<Zone> zone) {
  std::optional<Error> failure;
  try {
    if (zone->agent == nullptr) throw Error("zone", Code::io, "its shim cannot be reached");
    auto call = zone->agent->agent().freezeRequest();
    call.setFrozen(true);
    auto freezing = answered(call.send().ignoreResult(), timer().afterDelay(kShimPatience));
    co_await kj::mv(freezing);
  } catch (...) {
    failure = currentError("zone");
  }
  if (!failure) {
    emitFailed(zone->id, zone->taskId, "zone " + zone->name + " is frozen",
               "the enforcer does not guard it; delete the zone, or repair the enforcer and restart the daemon");
    co_return;
  }
  emitFailed(zone->id, zone->taskId, "zone " + zone->name + " is ended",
             "the enforcer does not guard it, and it could not be frozen: " + failure->text());
  try {
    co_await destroy(zone->id);
  } catch (...) {
    // Told by destroy(); the zone stays as failed.
  }
}

Task<void> ZoneService::adopt(store::ZoneRow row) {
  auto zone =
      std::make_shared<Zone>(policy::parsePolicy(row.policyToml, row.policySource.empty() ? "the zone's record" : row.policySource));
  zone->id = row.id;
  zone->name = row.name;
  zone->taskId = row.taskId;
  zone->ownerUid = row.ownerUid;
  zone->createdNs = row.createdNs;
  zone->backend = row.backend;
  zone->state = ZoneState::failed;
  zones_[zone->id] = zone;
  std::optional<Error> failure;
  // Until the enforcer knows the zone. The analyzer does not see that what is awaited may throw.
  bool unguarded = enforcement_.configured();  // NOLINT(clang-analyzer-deadcode.DeadStores)
  try {
    auto connecting = workers_.runSerial(row.id, [this, id = row.id] { return backend_.connectZone(reconcileOptions(), id); });
    plugin::ZoneHandle handle = co_await kj::mv(connecting);
    zone->shimPid = handle.shimPid;
    zone->idBase = handle.idBase;
    zone->idCount = handle.idCount;
    restorePosture(*zone, row, handle);
    zone->cgroup = std::move(handle.cgroup);
    zone->agent = std::make_unique<AgentClient>(io_, std::move(handle.agent));
    co_await enforcement_.refresh();
    enforcement_.show(zone->posture);
    zone->posture.unsafePlugins = unsafePlugins_;
    zone->posture.plugins = plugins_;
    co_await enforcement_.arm(zone);
    unguarded = false;
    // A stopped shim must not keep the daemon from starting.
    auto greeting = answered(zone->agent->agent().helloRequest().send().ignoreResult(), timer().afterDelay(kShimPatience));
    co_await kj::mv(greeting);
    if (enforcement_.configured()) {
      auto thaw = zone->agent->agent().freezeRequest();  // an earlier start may have found it without an enforcer
      auto thawing = answered(thaw.send().ignoreResult(), timer().afterDelay(kShimPatience));
      co_await kj::mv(thawing);
    }
    zone->state = ZoneState::ready;
  } catch (...) {
    failure = currentError("zone");
  }
  if (failure) {
    if (unguarded) {
      auto stopping = stopUnguarded(zone);
      co_await kj::mv(stopping);
    }
    zone->agent = nullptr;
    if (!zones_.contains(zone->id)) co_return;  // it is ended
    store_.setZoneState(zone->id, zoneStateName(ZoneState::failed));
    emitFailed(zone->id, zone->taskId, "zone " + zone->name + " could not be adopted", failure->text());
  } else {
    watch(zone);
    emit(names::kReconcileZoneAdopted, Severity::info, zone->id, zone->taskId, "zone " + zone->name + " runs on, its shim answered",
         {{"name", zone->name}});
  }
}

// First of all: the enforcer learns which zones stay before it is asked about any of them.
Task<void> ZoneService::reconcileEnforcer(std::vector<std::string> keep) {
  try {
    const auto forgotten = co_await enforcement_.reconcile(keep);
    for (const auto& found : forgotten)
      emit(names::kReconcileObjectRemoved, Severity::notice, found.zoneId, "",
           "enforcer " + enforcement_.name() + ": " + found.kind + (found.detail.empty() ? "" : ": " + found.detail),
           {{"object", "enforcer " + enforcement_.name()}, {"action", found.kind}});
  } catch (...) {
    // Until the next start every run is refused with this reason.
    const Error failure = currentError("enforcer");
    emit(names::kReconcileObjectLeft, Severity::error, "", "", "enforcer " + enforcement_.name() + ": " + failure.text(),
         {{"object", "enforcer " + enforcement_.name()}, {"reason", failure.text()}});
  }
}

Task<size_t> ZoneService::removeStrangers(std::vector<std::string> keep) {
  size_t removed = 0;
  auto reconciling = workers_.run([this, keep] { return backend_.reconcile(reconcileOptions(), keep); });
  const auto findings = co_await kj::mv(reconciling);
  for (const auto& finding : findings) {
    if (finding.action.rfind("removed", 0) == 0) ++removed;
    emit(names::kReconcileObjectRemoved, Severity::notice, finding.zoneId, "", finding.object + ": " + finding.action,
         {{"object", finding.object}, {"action", finding.action}});
  }
  const std::set<std::string> known(keep.begin(), keep.end());
  const std::string zonesDirectory = stateDir_ + "/zones";
  auto removing = workers_.run([zonesDirectory, known] {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(zonesDirectory)) {
      const std::string name = entry.path().filename().string();
      if (known.contains(name)) continue;
      std::error_code ignored;
      std::filesystem::remove_all(entry.path(), ignored);
      out.push_back(entry.path().string());
    }
    return out;
  });
  const auto strays = co_await kj::mv(removing);
  for (const auto& path : strays)
    emit(names::kReconcileObjectRemoved, Severity::notice, "", "", "directory " + path + ": removed",
         {{"object", path}, {"action", "removed"}});
  co_return removed + strays.size();
}

Task<size_t> ZoneService::reconcile() {
  // Only what stood and was meant to stay is adopted; half-built, half-removed and temporary zones go.
  const auto stays = [](const store::ZoneRow& row) { return !row.temporary && (row.state == "ready" || row.state == "failed"); };
  const auto rows = store_.zones();
  size_t removed = 0;
  std::vector<std::string> keep;
  for (const auto& row : rows)
    if (stays(row)) keep.push_back(row.id);
  co_await reconcileEnforcer(keep);
  for (const auto& row : rows) {
    if (stays(row)) {
      co_await adopt(row);
      continue;
    }
    std::optional<Error> failure;
    try {
      co_await takeDown(row.id);
    } catch (...) {
      failure = currentError("zone");
    }
    ++removed;
    if (failure)
      emitFailed(row.id, row.taskId, "zone " + row.name + " of an earlier daemon could not be removed", failure->text());
    else
      emit(names::kReconcileZoneRemoved, Severity::notice, row.id, row.taskId,
           "zone " + row.name + " (" + row.state + ") of an earlier daemon: removed",
           {{"reason", row.temporary ? "of a task whose daemon is gone" : "left while " + row.state}});
  }
  const size_t strangers = co_await removeStrangers(keep);
  co_return removed + strangers;
}

}  // namespace rauha
