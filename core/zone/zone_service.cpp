#include "core/zone/zone_service.h"

#include <fcntl.h>
#include <rauha/backend.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/evidence/names.h"
#include "core/policy/allowing_line.h"
#include "core/policy/dangerous/host_network.h"
#include "core/policy/dangerous/host_user_namespace.h"
#include "core/policy/zone_records.h"
#include "core/zone/policy_change.h"

namespace rauha {
namespace {

namespace names = evidence::names;
using evidence::Severity;

// A list of pids; a zone whose members do not fit has more than enough of them.
constexpr size_t kMostMembers = 4 << 20;

void removeTree(const std::string& path) {
  if (rmdir(path.c_str()) == 0 || errno == ENOENT) return;  // as a rule there is none, or nothing in it
  std::error_code error;
  std::filesystem::remove_all(path, error);  // never follows symbolic links
  if (error) throw Error("zone", Code::io, "remove " + path + ": " + error.message());
}

}  // namespace

const char* zoneStateName(ZoneState state) {
  switch (state) {
    case ZoneState::creating:
      return "creating";
    case ZoneState::ready:
      return "ready";
    case ZoneState::deleting:
      return "deleting";
    case ZoneState::failed:
      return "failed";
  }
  return "failed";
}

ZoneService::ZoneService(kj::LowLevelAsyncIoProvider& io, WorkerPool& workers, plugin::Backend& backend, store::Store& store,
                         evidence::EventBus& events, std::string stateDir, plugin::Enforcer* enforcer)
    : io_(io),
      workers_(workers),
      backend_(backend),
      store_(store),
      events_(events),
      stateDir_(std::move(stateDir)),
      enforcement_(workers, enforcer),
      pool_(
          io.getTimer(), workers, backend, [this] { return callOptions(); },
          [this](const std::string& what, const std::string& reason) { emitFailed("", "", what, reason); }),
      watches_(*this) {}

plugin::CallOptions ZoneService::callOptions() const {
  plugin::CallOptions options;
  options.deadlineNs = monotonicNs() + callNs_;
  return options;
}

void ZoneService::emit(std::string_view name, Severity severity, const std::string& zoneId, const std::string& taskId, std::string message,
                       std::vector<std::pair<std::string, std::string>> attributes) {
  evidence::Event event;
  event.name = name;
  event.severity = severity;
  event.zoneId = zoneId;
  event.taskId = taskId;
  event.source = "core";
  event.message = std::move(message);
  event.attributes = std::move(attributes);
  events_.emit(std::move(event));
}

// what: "taking zone x down"; reason: why that did not work.
void ZoneService::emitFailed(const std::string& zoneId, const std::string& taskId, const std::string& what, const std::string& reason) {
  emit(names::kZoneFailed, Severity::error, zoneId, taskId, what + ": " + reason, {{"reason", reason}});
}

void ZoneService::recordPosture(const Zone& zone) {
  if (zone.temporary) return;
  auto row = store_.zone(zone.id);
  if (!row) return;
  row->layers = packPosture(zone.posture);
  store_.updateZone(*row);
}

plugin::ZoneSpec ZoneService::specOf(const Zone& zone, const ZoneRequest& request) const {
  plugin::ZoneSpec spec;
  const auto policy = zone.policy.get();
  spec.id = zone.id;
  spec.hostname = zone.name;
  spec.ephemeral = zone.temporary;
  if (policy.getNetwork().getMode() == schema::NetworkMode::BRIDGED)
    throw Error("network", Code::unsupported,
                "policy '" + zone.policy.name() + "': network.mode = \"bridged\" needs a network plugin, and none is loaded",
                "write `network.mode = \"isolated\"` (loopback only) in [network], or \"host\" in a policy of type privileged",
                "network.mode");
  const auto hostUsers = policy::dangerous::HostUserNamespace::from(policy);
  const auto hostNetwork = policy::dangerous::HostNetwork::from(policy);
  policy::ZoneView view = policy::zoneView(policy, hostUsers ? &*hostUsers : nullptr, hostNetwork ? &*hostNetwork : nullptr);
  spec.usernsHost = (view.flags & RAUHA_ZONE_USERNS_HOST) != 0;
  spec.network = view.network == RAUHA_NETWORK_HOST ? plugin::ZoneNetwork::host : plugin::ZoneNetwork::isolated;
  for (auto& record : view.records) {
    if (record.tag == RAUHA_ZONE_REQUIRE) continue;  // those are below, without the waived ones
    // A file capability is a set-user-ID bit by another name: on a repository that belongs to root it would be valid on the host.
    if (request.noSuidBits && record.tag == RAUHA_ZONE_CAPABILITY && record.text == "setfcap") continue;
    spec.records.push_back({record.tag, record.number, std::move(record.text)});
  }
  if (request.noSuidBits) spec.records.push_back({RAUHA_ZONE_NO_SUID_BITS, 1, ""});
  for (const auto required : policy.getRequire()) {
    const std::string layer(required.begin(), required.size());
    // What only a process can show is checked when there is one.
    if (layer == "enforcer" || layer == "landlock" || layer == "capabilities" || layer == "seccomp") continue;
    if (std::find(request.waived.begin(), request.waived.end(), layer) == request.waived.end())
      spec.records.push_back({RAUHA_ZONE_REQUIRE, 0, layer});
  }
  return spec;
}

Task<void> ZoneService::build(std::shared_ptr<Zone> zone, ZoneRequest& request, Undo& undo) {
  checkWaivers(request.waived);
  if (!isName(zone->name))
    throw Error("usage", Code::invalid, "zone name '" + zone->name + "' is not valid",
                "use 1 to 63 of a-z 0-9 . _ - beginning with a letter or digit", zone->name);
  const plugin::ZoneSpec spec = specOf(*zone, request);
  co_await enforcement_.refresh();
  {
    // A missing enforcer is known before anything is built.
    Posture early = boundaryPosture({}, zone->policy.get(), 0, 0, backend_.name());
    enforcement_.show(early);
    std::vector<std::string> others = request.waived;
    for (const auto& layer : early.layers)
      if (layer.name != "enforcer") others.push_back(layer.name);
    checkRequired(early, zone->policy.get(), others, true);
  }

  if (!sweeping_.empty()) co_await swept(zone->name);
  store::ZoneRow row;
  row.id = zone->id;
  row.name = zone->name;
  row.state = zoneStateName(ZoneState::creating);
  row.policyToml = zone->policy.toml();
  row.policySource = zone->policy.get().getSource().cStr();
  row.policyDigest = zone->policy.digest();
  row.temporary = zone->temporary;
  row.taskId = zone->taskId;
  row.ownerUid = zone->ownerUid;
  row.backend = backend_.name();
  row.createdNs = zone->createdNs;
  try {
    store_.insertZone(row);
  } catch (const Error& e) {
    if (e.code() != Code::exists) throw;
    throw Error("zone", Code::exists, e.text(), e.hint(), e.object());  // a taken name is the caller's affair, not the store's
  }
  zones_[zone->id] = zone;  // until create() knows that nothing is left
  emit(names::kZoneCreating, Severity::debug, zone->id, zone->taskId, "zone " + zone->name + " is being made",
       {{"name", zone->name}, {"policy", zone->policy.name()}});

  if (zone->policy.get().getFilesystem().getScratch() == schema::ScratchKind::DISK) {
    const std::string scratch = scratchDirectory(zone->id);
    if (mkdir(scratch.c_str(), 0700) != 0 && errno != EEXIST) throwErrno("zone", "make directory " + scratch);
    undo.push("scratch directory " + scratch, [this, scratch] { return workers_.run([scratch] { removeTree(scratch); }); });
  }

  undo.push("boundary of " + zone->id,
            [this, id = zone->id] { return workers_.runSerial(id, [this, id] { backend_.destroyZone(callOptions(), id); }); });
  auto building = makeBoundary(spec);
  plugin::ZoneHandle handle = co_await kj::mv(building);
  zone->shimPid = handle.shimPid;
  zone->idBase = handle.idBase;
  zone->idCount = handle.idCount;
  zone->cgroup = std::move(handle.cgroup);
  zone->posture = boundaryPosture(handle.layers, zone->policy.get(), handle.idBase, handle.idCount, backend_.name());
  enforcement_.show(zone->posture);
  zone->posture.unsafePlugins = unsafePlugins_;
  zone->posture.plugins = plugins_;
  zone->posture.degraded = request.waived;
  checkRequired(zone->posture, zone->policy.get(), request.waived, true);
  zone->agent = std::make_unique<AgentClient>(io_, std::move(handle.agent));
  if (enforcement_.configured()) {
    undo.push("enforcer's record of " + zone->id, [this, id = zone->id] { return enforcement_.remove(id).promise(); });
    co_await enforcement_.arm(zone);
  }

  // Of a temporary zone nobody asks the store more than that it exists: after a crash it is removed, whatever its state.
  if (!zone->temporary) {
    row.state = zoneStateName(ZoneState::ready);
    row.shimPid = zone->shimPid;
    row.idBase = zone->idBase;
    row.layers = packPosture(zone->posture);
    store_.updateZone(row);
  }
  zone->state = ZoneState::ready;
}

Task<plugin::ZoneHandle> ZoneService::makeBoundary(plugin::ZoneSpec spec) {
  const bool othersGo = !sweeping_.empty() || pool_.holds();
  std::optional<Error> full;
  try {
    auto building = workers_.runSerial(spec.id, [this, spec] { return backend_.createZone(callOptions(), spec); });
    plugin::ZoneHandle handle = co_await kj::mv(building);
    co_return kj::mv(handle);
  } catch (const Error& e) {
    if (e.code() != Code::limit || (!othersGo && sweeping_.empty() && !pool_.holds())) throw;
    full = e;
  }
  // What those hold that have ended or not begun, host ids above all, is free in a moment.
  auto spare = pool_.empty();
  co_await kj::mv(spare);
  auto free = swept({});
  co_await kj::mv(free);
  try {
    auto again = workers_.runSerial(spec.id, [this, spec] { return backend_.createZone(callOptions(), spec); });
    plugin::ZoneHandle handle = co_await kj::mv(again);
    co_return kj::mv(handle);
  } catch (const Error& e) {
    if (e.code() != Code::exists) throw;
  }
  throw *full;  // what the first attempt left is in the way, and why it was given up says more
}

Task<std::shared_ptr<Zone>> ZoneService::create(ZoneRequest request) {
  ++inFlight_;
  KJ_DEFER(--inFlight_);
  auto zone = std::make_shared<Zone>(std::move(request.policy));
  zone->id = request.id;
  zone->name = request.name.empty() ? request.id : request.name;
  zone->taskId = request.taskId;
  zone->temporary = request.temporary;
  zone->ownerUid = request.ownerUid;
  zone->createdNs = realNs();
  zone->backend = backend_.name();

  Undo undo;
  std::optional<Error> failure;
  try {
    co_await build(zone, request, undo);
  } catch (...) {
    failure = currentError("zone");
  }
  if (failure) {
    zone->agent = nullptr;
    const auto left = co_await undo.run();
    for (const auto& what : left) emitFailed(zone->id, zone->taskId, "undo after a failed start", what);
    // A task says so itself, once it is known what became of it.
    if (zone->taskId.empty() && refusesRequiredLayer(*failure, zone->policy.get()))
      emit(names::kPolicyRefused, Severity::warning, zone->id, "", failure->text(),
           {{"object", failure->object()}, {"allowing_line", policy::allowingLine("require", failure->object())}});
    if (left.empty())
      forget(zone);
    else
      keepAsFailed(zone);
    throw *failure;
  }
  undo.dismiss();
  watch(zone);
  emit(names::kZoneCreated, Severity::info, zone->id, zone->taskId, "zone " + zone->name + " stands",
       {{"name", zone->name}, {"policy", zone->policy.name()}, {"policy_digest", zone->policy.digest()}});
  co_return zone;
}

void ZoneService::watch(std::shared_ptr<Zone> zone) {
  // Only kept zones: a temporary one's task sees the loss itself.
  if (zone->temporary || zone->agent == nullptr) return;
  auto lost = [](ZoneService& self, std::weak_ptr<Zone> weak) {
    const auto z = weak.lock();
    if (!z || z->state != ZoneState::ready) return;
    z->state = ZoneState::failed;
    z->agent = nullptr;
    self.store_.setZoneState(z->id, zoneStateName(ZoneState::failed));
    self.emitFailed(z->id, z->taskId, "zone " + z->name, "its shim is gone");
  };
  // The agent must not be destroyed inside its own promise's continuation.
  watches_.add(zone->agent->onLost().then(
      [this, lost, weak = std::weak_ptr<Zone>(zone)] { return kj::evalLater([this, lost, weak] { lost(*this, weak); }); }));
}

// A zone that was never recorded is forgotten as well.
void ZoneService::forget(const std::shared_ptr<Zone>& zone) noexcept {
  if (zones_.erase(zone->id) == 0) return;
  try {
    store_.deleteZone(zone->id);
  } catch (const std::exception& e) {
    emitFailed(zone->id, zone->taskId, "undo after a failed start: store record", e.what());
  }
}

// What is left of it can still be deleted, by name, and the next start finds it. A temporary zone is nobody's to delete: it is tried again
// by itself, as what was in the way (no descriptors, no room) may pass.
void ZoneService::keepAsFailed(const std::shared_ptr<Zone>& zone) noexcept {
  zone->state = ZoneState::failed;
  try {
    store_.setZoneState(zone->id, zoneStateName(ZoneState::failed));
  } catch (const std::exception&) {
    // The store is what failed, then; the next start finds the record as it is.
  }
  if (zone->temporary && tryingAgain_.insert(zone->id).second) watches_.add(tryAgain(zone->id).promise());
}

Task<void> ZoneService::tryAgain(std::string id) {
  constexpr kj::Duration kFirst = 500 * kj::MILLISECONDS, kLongest = 60 * kj::SECONDS;
  for (kj::Duration pause = kFirst;; pause = std::min(pause * 2, kLongest)) {
    auto waiting = timer().afterDelay(pause);
    co_await kj::mv(waiting);
    const auto it = zones_.find(id);
    if (it == zones_.end()) break;
    if (it->second->state != ZoneState::failed) continue;  // somebody else is at it
    try {
      co_await destroy(id);
    } catch (...) {
      continue;  // destroy has told
    }
  }
  tryingAgain_.erase(id);
}

Task<void> ZoneService::takeDown(std::string id) {
  const auto zone = zones_.find(id);
  const bool temporary = zone != zones_.end() && zone->second->temporary;
  try {
    if (!temporary) store_.setZoneState(id, zoneStateName(ZoneState::deleting));
  } catch (const Error&) {
    // A full disk must not keep processes and mounts alive; reconcile removes temporary zones whatever their recorded state.
  }
  // With an enforcer, the rest waits until it has forgotten the zone: what still carried its label would be denied everything.
  const std::string scratch = scratchDirectory(id);
  const bool guarded = enforcement_.configured();
  auto destroying = workers_.runSerial(id, [this, id, scratch, guarded]() -> std::optional<Error> {
    backend_.destroyZone(callOptions(), id);
    try {
      if (!guarded) removeTree(scratch);
    } catch (const Error& e) {
      return e;
    }
    return std::nullopt;
  });
  std::optional<Error> failure = co_await kj::mv(destroying);
  // The group is gone; should the rest fail, its descriptor must not stay for as long as the disk is full.
  if (guarded) co_await enforcement_.remove(id);
  if (const auto there = zones_.find(id); there != zones_.end()) there->second->cgroup.reset();
  if (failure) throw *failure;
  if (guarded) {
    auto removing = workers_.run([scratch] { removeTree(scratch); });
    co_await kj::mv(removing);
  }
  store_.deleteZone(id);
}

Task<void> ZoneService::destroy(std::string id) {
  const auto it = zones_.find(id);
  if (it == zones_.end()) co_return;
  const std::shared_ptr<Zone> zone = it->second;
  ++inFlight_;
  KJ_DEFER(--inFlight_);
  zone->state = ZoneState::deleting;
  zone->agent = nullptr;  // an ephemeral shim begins to end its zone now
  std::optional<Error> failure;
  try {
    co_await takeDown(id);
  } catch (...) {
    failure = currentError("zone");
  }
  if (failure) {
    keepAsFailed(zone);
    emitFailed(id, zone->taskId, "taking zone " + zone->name + " down", failure->text());
    throw *failure;
  }
  zones_.erase(id);
  pool_.nudge();
  emit(names::kZoneDeleted, Severity::info, id, zone->taskId, "zone " + zone->name + " is gone", {{"name", zone->name}});
}

Task<void> ZoneService::sweep(std::string id) {
  auto over = kj::newPromiseAndFulfiller<void>();
  sweeping_.emplace(id, over.promise.fork());
  pool_.nudge();
  try {
    co_await destroy(id);
  } catch (...) {
    // destroy has told, and tries again.
  }
  sweeping_.erase(id);
  over.fulfiller->fulfill();
}

kj::Promise<void> ZoneService::swept(const std::string& name) const {
  kj::Vector<kj::Promise<void>> awaited;
  for (auto& [id, over] : sweeping_) {
    const auto zone = zones_.find(id);
    if (name.empty() || (zone != zones_.end() && zone->second->name == name)) awaited.add(over.addBranch());
  }
  return kj::joinPromises(awaited.releaseAsArray());
}

std::optional<size_t> processesIn(const Zone& zone) {
  if (!zone.cgroup) return std::nullopt;
  const UniqueFd members(openat(zone.cgroup.get(), "cgroup.procs", O_RDONLY | O_CLOEXEC));
  if (!members) return std::nullopt;
  const std::string pids = readAll(members.get(), "the members of zone " + zone.id, kMostMembers);
  const auto all = static_cast<size_t>(std::count(pids.begin(), pids.end(), '\n'));
  return all == 0 ? 0 : all - 1;
}

std::shared_ptr<Zone> ZoneService::find(const std::string& idOrName) const {
  for (const auto& [id, zone] : zones_)
    if ((id == idOrName || zone->name == idOrName) && sweeping_.count(id) == 0) return zone;
  throw Error("zone", Code::notFound, "no zone named '" + idOrName + "'", "see `rauha zone list`", idOrName);
}

std::vector<std::shared_ptr<Zone>> ZoneService::list() const {
  std::vector<std::shared_ptr<Zone>> out;
  for (const auto& [id, zone] : zones_)
    if (sweeping_.count(id) == 0) out.push_back(zone);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a->createdNs < b->createdNs; });
  return out;
}

Task<void> ZoneService::apply(std::shared_ptr<Zone> zone, policy::Policy next) {
  if (zone->state != ZoneState::ready)
    throw Error("zone", Code::conflict, "zone '" + zone->name + "' is " + zoneStateName(zone->state), "delete it and create it anew",
                zone->name);
  const auto fixed = unchangeableDifference(zone->policy.get(), next.get());
  if (!fixed.empty())
    throw Error("policy", Code::unsupported, "'" + fixed + "' cannot change while zone '" + zone->name + "' lives",
                "delete the zone and create it with the new policy; only limits in [resources] can change", fixed);
  plugin::ZoneSpec spec;
  spec.id = zone->id;
  for (auto& record : policy::zoneRecords(next.get()))
    if (record.tag <= RAUHA_ZONE_PIDS || (record.tag >= RAUHA_ZONE_IO_WEIGHT && record.tag <= RAUHA_ZONE_IO_WRITE_BPS))
      spec.records.push_back({record.tag, record.number, std::move(record.text)});
  auto updating = workers_.runSerial(zone->id, [this, spec] { backend_.updateZone(callOptions(), spec); });
  co_await kj::mv(updating);
  store::ZoneRow row = *store_.zone(zone->id);
  row.policyToml = next.toml();
  row.policyDigest = next.digest();
  row.policySource = next.get().getSource().cStr();
  store_.updateZone(row);
  zone->policy = std::move(next);
  emit(names::kZonePolicyApplied, Severity::info, zone->id, zone->taskId,
       "zone " + zone->name + " runs under the limits of policy " + zone->policy.name(), {{"policy_digest", zone->policy.digest()}});
  co_await enforcement_.applyPolicy(zone);
}

void ZoneService::taskFailed(kj::Exception&& exception) { emitFailed("", "", "watching a zone", fromKj(exception).text()); }

}  // namespace rauha
