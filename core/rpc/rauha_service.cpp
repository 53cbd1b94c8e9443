#include "core/rpc/rauha_service.h"

#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/base/schema_error.h"
#include "core/evidence/names.h"
#include "core/image/image_config.h"
#include "core/rpc/doctor.h"
#include "core/rpc/image_calls.h"
#include "core/rpc/task_history_service.h"

namespace rauha::rpc {
namespace {

namespace names = evidence::names;

std::string text(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> out;
  out.reserve(list.size());
  for (const auto t : list) out.push_back(text(t));
  return out;
}

// What goes to execve or into a path may not hold NUL: it would be cut there in silence.
void refuseNul(const std::vector<std::string>& list, const char* what) {
  for (const auto& s : list)
    if (s.find('\0') != std::string::npos) throw Error("usage", Code::invalid, std::string(what) + " holds a NUL byte", "remove it");
}

// A client's descriptor as our own. Absent capability: an empty UniqueFd.
Task<UniqueFd> takeDescriptor(schema::Descriptor::Client descriptor, bool present, const char* what) {
  if (!present) co_return UniqueFd();
  kj::Maybe<int> fd = co_await descriptor.getFd();
  KJ_IF_MAYBE (number, fd) co_return duplicate(*number);
  throw Error("usage", Code::invalid, std::string(what) + ": the client sent no descriptor",
              "connect through the Unix socket with descriptor passing enabled");
}

void writeZone(schema::ZoneInfo::Builder out, const Zone& zone) {
  out.setId(zone.id);
  out.setName(zone.name);
  out.setState(static_cast<schema::ZoneState>(static_cast<uint16_t>(zone.state)));
  out.setPolicy(zone.policy.name());
  out.setPolicyDigest(zone.policy.digest());
  out.setCreatedAt(rfc3339(zone.createdNs));
  out.setShimPid(zone.shimPid);
  out.setTemporary(zone.temporary);
  if (!zone.taskId.empty()) out.setTaskId(zone.taskId);
  out.setBackend(zone.backend);
  out.setOwnerUid(zone.ownerUid);
}

class TaskHandleServer final : public schema::TaskHandle::Server {
 public:
  explicit TaskHandleServer(std::shared_ptr<RunningTask> task) : task_(std::move(task)) {}
  // The client let go, or is gone: its task has nobody left to report to.
  ~TaskHandleServer() noexcept(false) { task_->cancel(0, "its client is gone"); }
  kj::Promise<void> wait(WaitContext context) override {
    // Without it a call that is waiting keeps this object alive, and a client that was killed would never be missed.
    context.allowCancellation();
    return task_->result().then([context](std::shared_ptr<capnp::MallocMessageBuilder>&& message) mutable {
      context.getResults().setResult(message->getRoot<schema::TaskResult>().asReader());
    });
  }
  kj::Promise<void> cancel(CancelContext context) override {
    const int signal = context.getParams().getSignal();
    const bool known = signal > 0 && signal <= 64;
    task_->cancel(known ? signal : 0, known ? "" : "its client asked for it");
    return kj::READY_NOW;
  }
  kj::Promise<void> resize(ResizeContext context) override {
    task_->resize(context.getParams().getRows(), context.getParams().getColumns());
    return kj::READY_NOW;
  }

 private:
  std::shared_ptr<RunningTask> task_;
};

class EventStreamServer final : public schema::EventStream::Server {
 public:
  explicit EventStreamServer(evidence::Subscription subscription) : subscription_(std::move(subscription)) {}
  kj::Promise<void> next(NextContext context) override {
    context.allowCancellation();
    return subscription_.whenReady().then([this, context]() mutable {
      const auto events = subscription_.take(256);
      auto list = context.getResults().initEvents(static_cast<unsigned>(events.size()));
      for (unsigned i = 0; i < list.size(); ++i) writeEvent(list[i], events[i]);
      context.getResults().setDropped(subscription_.takeDropped());
    });
  }

 private:
  evidence::Subscription subscription_;
};

class RauhaServer final : public schema::Rauha::Server {
 public:
  RauhaServer(Services& services, const Peer& peer)
      : services_(services), peer_(peer), history_(services.store, services.changes, peer.uid) {}

  kj::Promise<void> hello(HelloContext context) override {
    writeServer(context.getResults().initServer());
    return kj::READY_NOW;
  }
  kj::Promise<void> sandbox(SandboxContext context) override { return runSandbox(context); }
  kj::Promise<void> createZone(CreateZoneContext context) override { return guarded(context, runCreateZone(context)); }
  kj::Promise<void> showZone(ShowZoneContext context) override { return guarded(context, runShowZone(context)); }
  kj::Promise<void> deleteZone(DeleteZoneContext context) override { return guarded(context, runDeleteZone(context)); }
  kj::Promise<void> applyPolicy(ApplyPolicyContext context) override { return guarded(context, runApplyPolicy(context)); }
  kj::Promise<void> listImages(ListImagesContext context) override { return guarded(context, runListImages(context)); }
  kj::Promise<void> inspectImage(InspectImageContext context) override { return guarded(context, runInspectImage(context)); }
  kj::Promise<void> removeImage(RemoveImageContext context) override { return guarded(context, runRemoveImage(context)); }
  kj::Promise<void> importImage(ImportImageContext context) override { return guarded(context, runImportImage(context)); }
  kj::Promise<void> doctor(DoctorContext context) override { return runDoctor(context); }
  kj::Promise<void> pruneImages(PruneImagesContext context) override { return guarded(context, runPruneImages(context)); }
  kj::Promise<void> pullImage(PullImageContext context) override {
    const auto params = context.getParams();
    const auto request = params.getRequest();
    plugin::ImageRequest pull = imageRequest(text(request.getReference()), -1);
    pull.pull = plugin::Pull::always;
    pull.platform = text(request.getPlatform());
    pull.credentials = text(request.getCredentials());
    kj::Maybe<schema::ImageProgress::Client> progress;
    if (params.hasProgress()) progress = params.getProgress();
    auto done = [this](const plugin::ResolvedImage& image) {
      emit(names::kImageImported, "image " + image.info.reference + " pulled",
           {{"reference", image.info.reference}, {"digest", image.info.digest}});
    };
    context.getResults().setPull(startImagePull(services_, std::move(pull), kj::mv(progress), std::move(done)));
    return kj::READY_NOW;
  }
  kj::Promise<void> exportImage(ExportImageContext context) override { return runExportImage(context); }
  kj::Promise<void> verifyImages(VerifyImagesContext context) override {
    const auto params = context.getParams();
    std::vector<plugin::ImageRequest> requests;
    for (const auto& reference : texts(params.getReferences())) requests.push_back(imageRequest(reference, -1));
    if (requests.empty()) requests.push_back(imageRequest({}, -1));
    kj::Maybe<schema::ImageProgress::Client> progress;
    if (params.hasProgress()) progress = params.getProgress();
    context.getResults().setVerify(startImageVerify(services_, std::move(requests), kj::mv(progress)));
    return kj::READY_NOW;
  }
  kj::Promise<void> listTasks(ListTasksContext context) override { return history_.listTasks(context); }
  kj::Promise<void> showTask(ShowTaskContext context) override { return history_.showTask(context); }
  kj::Promise<void> deleteTask(DeleteTaskContext context) override { return history_.deleteTask(context); }
  kj::Promise<void> pruneTasks(PruneTasksContext context) override { return history_.pruneTasks(context); }
  kj::Promise<void> openChanges(OpenChangesContext context) override { return history_.openChanges(context); }

  kj::Promise<void> listZones(ListZonesContext context) override {
    const auto zones = services_.zones.list();
    auto out = context.getResults().initZones(static_cast<unsigned>(zones.size()));
    for (unsigned i = 0; i < out.size(); ++i) writeZone(out[i], *zones[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> validatePolicy(ValidatePolicyContext context) override {
    const auto params = context.getParams();
    try {
      const auto policy = policy::parsePolicy(view(params.getPolicyToml()), text(params.getPolicySource()));
      context.getResults().setPolicy(policy.get());
      auto warnings = context.getResults().initWarnings(static_cast<unsigned>(policy.warnings().size()));
      for (unsigned i = 0; i < warnings.size(); ++i) warnings.set(i, policy.warnings()[i]);
    } catch (const Error& e) {
      writeOutcome(context.getResults().initOutcome(), e);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> listPlugins(ListPluginsContext context) override { return runListPlugins(context); }

  kj::Promise<void> events(EventsContext context) override {
    context.getResults().setStream(kj::heap<EventStreamServer>(services_.events.subscribe(text(context.getParams().getZoneId()))));
    return kj::READY_NOW;
  }

  kj::Promise<void> shutdown(ShutdownContext context) override {
    const bool force = context.getParams().getForce();
    if (peer_.uid != 0 && peer_.uid != geteuid())
      writeOutcome(context.getResults().initOutcome(),
                   Error("daemon", Code::denied, "uid " + std::to_string(peer_.uid) + " may not stop the daemon", "ask root"));
    else if (const size_t tasks = services_.tasks.unfinished(); tasks > 0 && !force)
      writeOutcome(context.getResults().initOutcome(),
                   Error("daemon", Code::busy, std::to_string(tasks) + " tasks run", "wait for them, or add --force to cancel them"));
    else
      services_.requestShutdown("a client asked for it");
    return kj::READY_NOW;
  }

 private:
  static std::string_view view(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

  // A method's Error becomes its outcome; anything else stays an RPC exception.
  template <typename Context>
  static kj::Promise<void> guarded(Context context, Task<void> task) {
    return kj::mv(task).promise().catch_([context](kj::Exception&& e) mutable {
      if (!isEncodedError(e)) kj::throwFatalException(kj::mv(e));
      writeOutcome(context.getResults().initOutcome(), fromKj(e));
    });
  }

  void writeServer(schema::ServerInfo::Builder out) const {
    out.setVersion(services_.version);
    out.setInstance(services_.instance);
    out.setRoot(services_.root);
    out.setPid(getpid());
    out.setUptimeMs(static_cast<uint64_t>(monotonicNs() - services_.startedNs) / 1'000'000);
    out.setZones(static_cast<uint32_t>(services_.zones.list().size()));
  }

  static void writePlugin(schema::PluginInfo::Builder out, const plugin::PluginRecord& record,
                          const std::vector<std::string>& capabilities) {
    out.setName(record.name);
    out.setVersion(record.version);
    out.setPath(record.path);
    out.setKind(record.kind);
    auto interfaces = out.initInterfaces(static_cast<unsigned>(record.interfaces.size()));
    for (unsigned i = 0; i < interfaces.size(); ++i) interfaces.set(i, record.interfaces[i]);
    out.setAbi(record.abi);
    if (!record.buildId.empty()) out.setBuildId(record.buildId);
    out.setLoaded(record.loaded);
    if (!record.refusal.empty()) out.setRefusal(record.hint.empty() ? record.refusal : record.refusal + "; " + record.hint);
    auto weaknesses = out.initUnsafePlaces(static_cast<unsigned>(record.weaknesses.size()));
    for (unsigned i = 0; i < weaknesses.size(); ++i) weaknesses.set(i, record.weaknesses[i]);
    out.setIsolation(record.isolation);
    out.setPid(record.pid);
    out.setRestarts(record.restarts);
    auto confinement = out.initConfinement(static_cast<unsigned>(record.confinement.size()));
    for (unsigned i = 0; i < confinement.size(); ++i) confinement.set(i, record.confinement[i]);
    if (!record.lastEnd.empty()) out.setLastEnd(record.lastEnd);
    out.setPinned(record.pinned);
    auto can = out.initCapabilities(static_cast<unsigned>(capabilities.size()));
    for (unsigned i = 0; i < can.size(); ++i) can.set(i, capabilities[i]);
    if (!record.loaded) return;
    auto health = out.initHealth();
    health.setOverruns(record.health.overruns);
    health.setAbandoned(record.health.abandoned);
    health.setStuck(record.health.stuck);
    health.setViolations(record.health.violations);
    health.setEventsDropped(record.health.eventsDropped);
    if (!record.health.lastViolation.empty()) health.setLastViolation(record.health.lastViolation);
    if (!record.health.lastOverrun.empty()) health.setLastOverrun(record.health.lastOverrun);
  }

  // What is not known stays a number that checkRequest refuses.
  static plugin::Pull pullOf(schema::PullPolicy policy) { return static_cast<plugin::Pull>(static_cast<uint16_t>(policy)); }

  TaskRequest readRequest(SandboxParams::Reader params) const {
    const auto request = params.getRequest();
    TaskRequest out;
    out.id = newId("task");
    out.image = text(request.getImage());
    out.zoneName = text(request.getName());
    out.policyToml = text(request.getPolicyToml());
    out.policySource = text(request.getPolicySource());
    out.repoPath = text(request.getRepoPath());
    out.from = text(request.getFrom());
    out.workdir = text(request.getWorkdir());
    out.user = text(request.getUser());
    out.platform = text(request.getPlatform());
    out.imageCredentials = text(request.getImageCredentials());
    out.pull = pullOf(request.getPull());
    if (params.hasImageProgress()) out.imageProgress = params.getImageProgress();
    out.argv = texts(request.getArgv());
    out.env = texts(request.getEnv());
    out.waived = texts(request.getAllowDegraded());
    out.repoMode = request.getRepoMode();
    out.timeoutMs = request.getTimeoutMs();
    out.keepZone = request.getKeepZone();
    out.terminal = request.getTerminal();
    out.stdin = request.getStdin();
    out.trace = params.getTrace();
    out.rows = request.getRows();
    out.columns = request.getColumns();
    out.peer = peer_;
    if (params.hasStdout()) out.stdoutSink = params.getStdout();
    if (params.hasStderr()) out.stderrSink = params.getStderr();
    if (params.hasProgress()) out.copyProgress = params.getProgress();
    return out;
  }

  static void checkRequest(const TaskRequest& request) {
    refuseNul(request.argv, "the command");
    refuseNul(request.env, "the environment");
    refuseNul({request.workdir, request.user, request.image}, "the request");
    refuseNul({request.platform}, "the platform");
    if (request.pull > plugin::Pull::never)
      throw Error("image", Code::unsupported, "pull policy " + std::to_string(static_cast<unsigned>(request.pull)) + " is not known",
                  "use a client of this daemon's version");
    if (request.repoMode > schema::RepoMode::OVERLAY)
      throw Error("repository", Code::unsupported,
                  "repository mode " + std::to_string(static_cast<unsigned>(request.repoMode)) + " is not known",
                  "use a client of this daemon's version");
  }

  // Whatever is wrong with a request becomes the result of its task: a client always gets its one document.
  Task<void> runSandbox(SandboxContext context) {
    auto params = context.getParams();
    const auto request = params.getRequest();
    TaskRequest out = readRequest(params);
    const bool hasRepo = request.hasRepo(), hasImage = request.hasImageSource();
    schema::Descriptor::Client repoClient = hasRepo ? request.getRepo() : schema::Descriptor::Client(nullptr);
    schema::Descriptor::Client imageClient = hasImage ? request.getImageSource() : schema::Descriptor::Client(nullptr);
    // The request may be megabytes; it is copied, and when the descriptors come is up to the client.
    context.releaseParams();
    try {
      checkRequest(out);
      auto repo = takeDescriptor(kj::mv(repoClient), hasRepo, "the repository");
      out.repo = co_await kj::mv(repo);
      auto imageSource = takeDescriptor(kj::mv(imageClient), hasImage, "the image");
      out.imageSource = co_await kj::mv(imageSource);
    } catch (...) {
      out.refusal = currentError("usage");
    }
    const bool wantsStdin = out.stdin;
    auto results = context.getResults();
    results.setTaskId(out.id);
    std::string zoneId;
    auto task = services_.tasks.run(std::move(out), &zoneId);
    results.setZoneId(zoneId);
    if (wantsStdin) results.setStdin(task->stdin());
    results.setTask(kj::heap<TaskHandleServer>(std::move(task)));
  }

  policy::Policy policyOf(capnp::Text::Reader toml, capnp::Text::Reader source) const {
    return toml.size() == 0 ? policy::builtinPolicy("standard") : policy::parsePolicy(view(toml), text(source));
  }

  Task<void> runCreateZone(CreateZoneContext context) {
    const auto params = context.getParams();
    ZoneRequest request{newId("zone"), text(params.getName()), policyOf(params.getPolicyToml(), params.getPolicySource())};
    request.ownerUid = peer_.uid;
    auto pending = services_.zones.create(std::move(request));
    const auto zone = co_await kj::mv(pending);
    writeZone(context.getResults().initZone(), *zone);
  }

  Task<void> runShowZone(ShowZoneContext context) {
    const auto zone = services_.zones.find(text(context.getParams().getName()));
    auto out = context.getResults().initZone();
    writeZone(out, *zone);
    writePosture(out.initPosture(), zone->posture);
    context.getResults().setPolicy(zone->policy.get());
    if (zone->agent != nullptr) {
      kj::Promise<capnp::Response<schema::Agent::UsageResults>> asking = zone->agent->agent().usageRequest().send();
      auto bounded = answered(kj::mv(asking), services_.zones.timer().afterDelay(kShimPatience));
      auto usage = co_await kj::mv(bounded);
      context.getResults().getZone().setUsage(usage.getUsage());
    }
  }

  void refuseWhileUsed(const Zone& zone) const {
    if (services_.tasks.usesZone(zone.id))
      throw Error("zone", Code::busy, "a task runs in zone '" + zone.name + "'", "add --force to end it", zone.name);
    if (zone.state != ZoneState::ready) return;  // nothing of it can be used any more
    const size_t count = processesIn(zone).value_or(0);
    if (count > 0)
      throw Error("zone", Code::conflict,
                  std::to_string(count) + (count == 1 ? " process runs" : " processes run") + " in zone '" + zone.name + "'",
                  "add --force to end " + std::string(count == 1 ? "it" : "them") + " with the zone", zone.name);
  }

  Task<void> runDeleteZone(DeleteZoneContext context) {
    const auto params = context.getParams();
    const auto zone = services_.zones.find(text(params.getName()));
    if (zone->temporary)
      throw Error("zone", Code::conflict, "zone '" + zone->name + "' belongs to the running task " + zone->taskId,
                  "end the task: press Ctrl-C where its `rauha sandbox` runs, or send that process SIGTERM; the zone goes with it",
                  zone->name);
    if (!params.getForce()) refuseWhileUsed(*zone);
    const std::string id = zone->id;
    co_await services_.zones.destroy(id);
    co_await services_.tasks.releaseImage(id);
  }

  Task<void> runApplyPolicy(ApplyPolicyContext context) {
    const auto params = context.getParams();
    const auto zone = services_.zones.find(text(params.getZone()));
    auto pending = services_.zones.apply(zone, policyOf(params.getPolicyToml(), params.getPolicySource()));
    co_await kj::mv(pending);
    writeZone(context.getResults().initZone(), *zone);
  }

  Task<void> runListImages(ListImagesContext context) {
    auto pending = services_.imageWorkers.run([this] { return services_.registry.images().list({}); });
    const auto images = co_await kj::mv(pending);
    auto out = context.getResults().initImages(static_cast<unsigned>(images.size()));
    for (unsigned i = 0; i < out.size(); ++i) image::writeInfo(out[i], images[i]);
  }

  plugin::ImageRequest imageRequest(std::string reference, int fd) const {
    plugin::ImageRequest request;
    request.reference = std::move(reference);
    request.sourceFd = fd;
    request.callerUid = peer_.uid;
    request.callerGid = peer_.gid;
    return request;
  }

  Task<void> runInspectImage(InspectImageContext context) {
    const auto params = context.getParams();
    const auto request = imageRequest(text(params.getReference()), -1);
    auto taken = takeDescriptor(params.hasSource() ? context.getParams().getSource() : schema::Descriptor::Client(nullptr),
                                params.hasSource(), "the image");
    auto source = std::make_shared<UniqueFd>();
    *source = co_await kj::mv(taken);
    auto pending = services_.imageWorkers.run([this, request, source] {
      auto copy = request;
      copy.sourceFd = source->get();
      return services_.registry.images().inspect({}, copy);
    });
    const auto image = co_await kj::mv(pending);
    image::writeInfo(context.getResults().initImage(), image, true);
  }

  Task<void> runRemoveImage(RemoveImageContext context) {
    const std::string reference = text(context.getParams().getReference());
    // Its digest is known only before.
    auto pending = services_.imageWorkers.run([this, reference] {
      std::string digest;
      for (const auto& image : services_.registry.images().list({}))
        if (image.info.reference == reference) digest = image.info.digest;
      services_.registry.images().remove({}, reference);
      return digest;
    });
    const std::string digest = co_await kj::mv(pending);
    emit(names::kImageRemoved, "image " + reference + " removed", {{"reference", reference}, {"digest", digest}});
  }

  Task<void> runImportImage(ImportImageContext context) {
    const auto params = context.getParams();
    auto request = imageRequest(text(params.getReference()), -1);
    request.name = text(params.getName());
    auto taken = takeDescriptor(params.hasSource() ? context.getParams().getSource() : schema::Descriptor::Client(nullptr),
                                params.hasSource(), "the image");
    auto source = std::make_shared<UniqueFd>();
    *source = co_await kj::mv(taken);
    auto pending = services_.imageWorkers.run([this, request, source] {
      auto copy = request;
      copy.sourceFd = source->get();
      return services_.registry.images().importImage({}, copy);
    });
    const auto image = co_await kj::mv(pending);
    image::writeInfo(context.getResults().initImage(), image);
    emit(names::kImageImported, "image " + image.info.reference + " imported",
         {{"reference", image.info.reference}, {"digest", image.info.digest}});
  }

  // Whatever is wrong with a request is what `wait` says.
  Task<void> runExportImage(ExportImageContext context) {
    const auto params = context.getParams();
    auto request = imageRequest(text(params.getReference()), -1);
    request.name = text(params.getTag());
    kj::Maybe<schema::ImageProgress::Client> progress;
    if (params.hasProgress()) progress = context.getParams().getProgress();
    auto taken = takeDescriptor(params.hasTarget() ? context.getParams().getTarget() : schema::Descriptor::Client(nullptr),
                                params.hasTarget(), "the export's target");
    UniqueFd target = co_await kj::mv(taken);
    context.getResults().setExport(startImageExport(services_, std::move(request), std::move(target), kj::mv(progress)));
  }

  Task<void> runPruneImages(PruneImagesContext context) {
    plugin::ImageRequest request = imageRequest({}, -1);
    request.all = context.getParams().getAll();
    auto pending = services_.imageWorkers.run([this, request] { return services_.registry.images().prune({}, request); });
    const auto images = co_await kj::mv(pending);
    auto out = context.getResults().initImages(static_cast<unsigned>(images.size()));
    for (unsigned i = 0; i < out.size(); ++i) {
      image::writeInfo(out[i], images[i]);
      emit(names::kImageRemoved, "image " + images[i].info.reference + " removed", {{"reference", images[i].info.reference}});
    }
  }

  Task<void> runListPlugins(ListPluginsContext context) {
    const auto records = services_.registry.records();
    std::vector<std::string> names;
    names.reserve(records.size());
    for (const auto& record : records) names.push_back(record.loaded ? record.name : "");
    // One that hangs must not hide the others: what it can do is then said to be unknown, and the rest is answered.
    auto pending = services_.workers.run([this, names] {
      std::vector<std::vector<std::string>> out;
      out.reserve(names.size());
      for (const auto& name : names) out.push_back(name.empty() ? std::vector<std::string>() : services_.registry.capabilities(name));
      return out;
    });
    std::vector<std::vector<std::string>> capabilities(records.size());
    try {
      capabilities = co_await kj::mv(pending);
    } catch (...) {
      for (auto& one : capabilities) one = {"unknown: " + currentError("plugin").text()};
    }
    auto out = context.getResults().initPlugins(static_cast<unsigned>(records.size()));
    for (unsigned i = 0; i < out.size(); ++i) writePlugin(out[i], records[i], capabilities[i]);
  }

  Task<void> runDoctor(DoctorContext context) {
    auto pending = services_.workers.run([this] { return services_.registry.backend().probe({}); });
    const auto layers = co_await kj::mv(pending);
    std::string enforcerFailure;
    try {
      co_await services_.zones.enforcement().refresh();
    } catch (...) {
      enforcerFailure = currentError("enforcer").text();
    }
    plugin::Layer enforcer = services_.zones.enforcement().layer();
    if (!enforcerFailure.empty())
      enforcer = {"enforcer", plugin::LayerState::missing, services_.zones.enforcement().name(), enforcerFailure,
                  "runs are refused until it works"};
    auto report = context.getResults().initReport();
    writeDoctor(report, layers, services_.registry.records(), enforcer);
    writeServer(report.initServer());
  }

  void emit(std::string_view name, std::string message, std::vector<std::pair<std::string, std::string>> attributes) {
    evidence::Event event;
    event.name = name;
    event.source = "core";
    event.message = std::move(message);
    event.attributes = std::move(attributes);
    services_.events.emit(std::move(event));
  }

  Services& services_;
  const Peer peer_;
  TaskHistoryService history_;
};

}  // namespace

schema::Rauha::Client makeRauhaService(Services& services, const Peer& peer) { return kj::heap<RauhaServer>(services, peer); }

}  // namespace rauha::rpc
