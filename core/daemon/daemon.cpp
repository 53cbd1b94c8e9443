#include "core/daemon/daemon.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/version.h"
#include "core/evidence/names.h"

namespace rauha {
namespace {

namespace names = evidence::names;
using evidence::Severity;

evidence::Event coreEvent(std::string_view name, Severity severity, std::string message,
                          std::vector<std::pair<std::string, std::string>> attributes = {}) {
  evidence::Event event;
  event.name = name;
  event.severity = severity;
  event.source = "core";
  event.message = std::move(message);
  event.attributes = std::move(attributes);
  return event;
}

evidence::EventBusOptions busOptions(store::Store& store) {
  evidence::EventBusOptions options;
  options.lastSequence = store.lastSequence();
  return options;
}

// Of [changes] keep_bytes one task's set may take this part: whatever a task writes, half of what is kept stays others'.
constexpr uint64_t kSetShare = 2;

changes::Settings changesSettings(const ChangesSection& section) {
  changes::Settings out;
  out.retention.keepNs = static_cast<int64_t>(std::min<uint64_t>(section.keepMs, INT64_MAX / 1'000'000)) * 1'000'000;
  out.retention.keepBytes = section.keepBytes;
  out.limits.layerBytes = section.keepBytes / kSetShare;
  out.limits.changes = section.maxChanges;
  out.protectedPatterns = section.protectedPatterns;
  return out;
}

constexpr size_t kWorkerQueue = 4096;
// What is not removed by then is at the next start.
constexpr auto kRemovalPatience = 5 * kj::SECONDS;

plugin::CallLimits callLimits(const Config& config) {
  plugin::CallLimits out;
  out.createNs = static_cast<int64_t>(config.callTimeoutMs) * 1'000'000;
  out.overrunNs = static_cast<int64_t>(config.overrunAfterMs) * 1'000'000;
  out.abandonNs = static_cast<int64_t>(config.abandonAfterMs) * 1'000'000;
  return out;
}

}  // namespace

Daemon::Daemon(kj::AsyncIoContext& io, const Instance& instance, const Config& config, Log& log, bool onDemand)
    : io_(io),
      instance_(instance),
      config_(config),
      log_(log),
      onDemand_(onDemand),
      startedNs_(monotonicNs()),
      store_(instance.stateDir),
      pluginState_(store_),
      events_(busOptions(store_)),
      eventLog_(events_, store_, log, io.provider->getTimer()),
      workers_(config.workers, kWorkerQueue),
      imageWorkers_(config.workers, kWorkerQueue),
      changes_(instance.stateDir, store_, workers_, changesSettings(config.changes),
               [this](const std::string& problem) { log_.warning("changes", problem); }),
      registry_(plugin::Registry::load(pluginConfig(), hostCallbacks())),
      zones_(*io.lowLevelProvider, workers_, registry_->backend(), store_, events_, instance.stateDir,
             config.enforcer == "none" ? nullptr : &registry_->enforcer()),
      tasks_(io.provider->getTimer(), workers_, imageWorkers_, registry_->images(), zones_, store_, events_, changes_),
      containment_(io.provider->getTimer(), *registry_, {&workers_, &imageWorkers_, &tasks_.leaseWorkers()}, events_, log,
                   callLimits(config)),
      services_{workers_,
                imageWorkers_,
                *registry_,
                zones_,
                tasks_,
                events_,
                kVersion,
                instance.name,
                instance.root,
                startedNs_,
                [this](const char* reason) { requestShutdown(reason); },
                store_,
                changes_},
      listener_(
          io, [this](const rpc::Peer& peer) -> capnp::Capability::Client { return rpc::makeRauhaService(services_, peer); },
          [this](const rpc::Peer& peer, const std::string& why) {
            events_.emit(coreEvent(names::kClientRefused, Severity::warning, "client refused: " + why,
                                   {{"uid", std::to_string(peer.uid)}, {"pid", std::to_string(peer.pid)}, {"reason", why}}));
          }),
      stop_(kj::newPromiseAndFulfiller<void>()) {
  zones_.setCallTimeout(static_cast<int64_t>(config.callTimeoutMs) * 1'000'000);
  zones_.setPool({config.preparedZones, static_cast<int64_t>(config.preparedIdleMs) * 1'000'000});
  tasks_.setHistory(config.taskHistory);
  showPlugins();
  for (const auto& record : registry_->records()) {
    if (record.loaded)
      events_.emit(coreEvent(names::kPluginLoaded, record.weaknesses.empty() ? Severity::info : Severity::warning,
                             "plugin " + record.name + " " + record.version + " loaded" +
                                 (record.weaknesses.empty() ? "" : ", from an unsafe place: " + record.weaknesses[0]),
                             {{"name", record.name}, {"version", record.version}, {"path", record.path}}));
    else if (record.name == config.backend || record.name == config.enforcer ||
             std::find(config.images.begin(), config.images.end(), record.name) != config.images.end())
      events_.emit(coreEvent(names::kPluginRefused, Severity::warning, "plugin " + record.name + " is not in use: " + record.refusal,
                             {{"path", record.path}, {"reason", record.refusal}}));
  }
}

// In every posture from now on.
void Daemon::showPlugins() {
  std::vector<PluginInUse> used;
  std::vector<std::string> unsafe;
  for (const auto& record : registry_->records()) {
    if (!record.loaded) continue;
    const bool installed = record.path.substr(0, record.path.rfind('/')) == instance_.pluginDir;
    used.push_back({record.name, record.version, record.kind, record.isolation, installed ? "" : record.path});
    for (const auto& place : record.weaknesses) unsafe.push_back(record.name + ": " + place);
  }
  zones_.setPlugins(std::move(used), std::move(unsafe));
}

plugin::PluginConfig Daemon::pluginConfig() const {
  plugin::PluginConfig out;
  out.directories = config_.pluginDirectories.empty() ? std::vector<std::string>{instance_.pluginDir} : config_.pluginDirectories;
  std::vector<std::string> names{config_.backend};
  if (config_.enforcer != "none") names.push_back(config_.enforcer);
  names.insert(names.end(), config_.images.begin(), config_.images.end());
  for (const auto& name : names) {
    plugin::EnabledPlugin enabled;
    enabled.name = name;
    if (const auto it = config_.plugins.find(name); it != config_.plugins.end()) {
      enabled.toml = it->second.toml;
      enabled.schemes = it->second.schemes;
      enabled.isolation = it->second.isolation;
      if (!it->second.sha256.empty()) enabled.sha256 = "sha256:" + it->second.sha256;
    }
    out.enabled.push_back(std::move(enabled));
  }
  if (config_.allowUnsafeDirectories) out.insecureDirectories = plugin::InsecurePluginDirectories();
  out.instance = instance_.name;
  out.stateDir = instance_.stateDir;
  out.runtimeDir = instance_.runtimeDir;
  out.libexecDir = instance_.libexecDir;
  out.limits = callLimits(config_);
  return out;
}

plugin::HostCallbacks Daemon::hostCallbacks() {
  plugin::HostCallbacks callbacks;
  callbacks.event = [this](plugin::PluginEvent&& from) {
    evidence::Event event = coreEvent(from.name, static_cast<Severity>(std::min<uint32_t>(from.severity, 4)), std::move(from.message),
                                      std::move(from.attributes));
    event.zoneId = std::move(from.zoneId);
    event.source = std::move(from.plugin);
    return events_.emit(std::move(event)) != 0;
  };
  callbacks.log = [this](LogLevel level, std::string_view plugin, std::string_view text) { log_.write(level, plugin, text); };
  callbacks.state = &pluginState_;
  callbacks.onLoopThread = [loop = std::this_thread::get_id()] { return std::this_thread::get_id() == loop; };
  return callbacks;
}

Task<void> Daemon::reconcile() {
  const size_t openTasks = store_.openTasks().size(), zones = store_.zones().size();
  events_.emit(coreEvent(names::kReconcileStarted, Severity::info,
                         "reconcile: " + std::to_string(zones) + " zones and " + std::to_string(openTasks) + " open tasks are recorded",
                         {{"zones", std::to_string(zones)}, {"tasks", std::to_string(openTasks)}}));
  tasks_.reconcile();
  const size_t removed = co_await zones_.reconcile();
  std::vector<std::string> leases;
  for (const auto& zone : zones_.list()) leases.push_back(zone->id);
  auto pending = imageWorkers_.run([this, leases] { registry_->images().reconcile({}, leases); });
  co_await kj::mv(pending);
  store_.pruneTasks(config_.taskHistory, 0);
  co_await reconcileChanges();
  events_.emit(
      coreEvent(names::kReconcileFinished, Severity::info,
                "reconcile: adopted " + std::to_string(leases.size()) + " zones, removed " + std::to_string(removed) + " objects, closed " +
                    std::to_string(openTasks) + " tasks",
                {{"adopted", std::to_string(leases.size())}, {"removed", std::to_string(removed)}, {"tasks", std::to_string(openTasks)}}));
}

Task<void> Daemon::reconcileChanges() {
  const auto removed = co_await changes_.reconcile();
  for (const auto& path : removed)
    events_.emit(coreEvent(names::kReconcileObjectRemoved, Severity::notice, "change set " + path + ": removed",
                           {{"object", path}, {"action", "removed"}}));
}

size_t Daemon::abandonedWorkers() const {
  return workers_.counts().abandoned + imageWorkers_.counts().abandoned + tasks_.leaseWorkers().counts().abandoned +
         tasks_.clientWorkers().counts().abandoned;
}

void Daemon::requestShutdown(const char* reason) {
  if (stopReason_.empty()) stopReason_ = reason;
  stop_.fulfiller->fulfill();
}

bool Daemon::idle() const {
  const int64_t quietNs = monotonicNs() - listener_.lastActivityNs();
  return listener_.connections() == 0 && tasks_.running() == 0 && !zones_.busy() &&
         quietNs >= static_cast<int64_t>(config_.idleExitMs) * 1'000'000;
}

// Leaves nobody behind: under the start lock the name goes first, so that no new client can come; whoever is in the backlog already is
// served.
bool Daemon::tryLeave() {
  UniqueFd lock(::open((instance_.runtimeDir + "/start.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return false;  // a client is starting or looking for a daemon right now
  UniqueFd socket = listener_.stop();
  unlink((instance_.runtimeDir + "/" + instance_.socketName).c_str());
  UniqueFd waiting(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!waiting) return true;
  UniqueFd fresh = rpc::listenAt(instance_.runtimeDir, instance_.socketName, instance_.root == "/" ? config_.socketGroup : "");
  while (waiting) {
    listener_.adopt(std::move(waiting));
    waiting = UniqueFd(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }
  listener_.serve(std::move(fresh));
  return false;
}

Task<void> Daemon::leaveWhenIdle() {
  const auto step = std::min<uint64_t>(config_.idleExitMs, 1000);
  for (;;) {
    co_await io_.provider->getTimer().afterDelay(step * kj::MILLISECONDS);
    if (idle() && tryLeave()) break;
  }
  if (stopReason_.empty()) stopReason_ = "idle";
}

Task<void> Daemon::serve(UniqueFd socket, bool socketIsOurs) {
  socketIsOurs_ = socketIsOurs;
  listener_.serve(std::move(socket));
  events_.emit(coreEvent(names::kDaemonStarted, Severity::info, std::string("rauhad ") + kVersion + " serves " + instance_.root,
                         {{"version", kVersion}, {"pid", std::to_string(getpid())}, {"root", instance_.root}}));
  kj::Promise<void> end = kj::mv(stop_.promise);
  if (onDemand_ && socketIsOurs) end = end.exclusiveJoin(leaveWhenIdle());
  co_await kj::mv(end);
  events_.emit(coreEvent(names::kDaemonStopping, Severity::info, "stopping: " + stopReason_, {{"reason", stopReason_}}));
  // Deaf first: who comes now gets no answer at all and can safely ask the next daemon.
  listener_.stop();
  if (socketIsOurs) unlink((instance_.runtimeDir + "/" + instance_.socketName).c_str());
  // Tasks end and clean up while their clients can still be told; kept zones live on in their shims.
  zones_.stopPool();
  co_await tasks_.drain();
  co_await zones_.closePool();
  co_await changes_.drain().exclusiveJoin(io_.provider->getTimer().afterDelay(kRemovalPatience));
  // One turn for the replies of what was just finished.
  co_await io_.provider->getTimer().afterDelay(50 * kj::MILLISECONDS);
  events_.flush();
  eventLog_.flush();
}

}  // namespace rauha
