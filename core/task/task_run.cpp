#include "core/task/task_run.h"

#include <signal.h>

#include <algorithm>
#include <climits>
#include <exception>
#include <utility>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/base/repo_mode.h"
#include "core/base/schema_error.h"
#include "core/base/units.h"
#include "core/base/utf8.h"
#include "core/evidence/names.h"
#include "core/evidence/result_json.h"
#include "core/image/progress_relay.h"
#include "core/policy/allowing_line.h"

namespace rauha {
namespace {

namespace names = evidence::names;
using evidence::Severity;

// After the zone was killed, its end must show within this time; a shim that does not tell is given up, and the zone ended from outside.
constexpr auto kEndPatience = 10 * kj::SECONDS;
// The agent's notes that begin so are about the repository.
constexpr const char* kOfRepository = "repository: ";
// So many zones may be on their way out behind the answers of their tasks. With more, who ends a task waits for its zone.
constexpr size_t kMostSweeping = 8;
constexpr int64_t kImageDeadlineNs = 3600LL * 1'000'000'000;

// A zone with a name, or one that is kept, is another one from the first step on.
ZonePool::Id idFor(ZoneService& zones, const TaskRequest& request) {
  return zones.takeId(request.zoneName.empty() && !request.keepZone && !request.refusal);
}

}  // namespace

TaskRun::TaskRun(TaskService& service, std::shared_ptr<RunningTask> task)
    : service_(service),
      task_(std::move(task)),
      boundary_(idFor(service.zones_, task_->request)),
      zoneId_(boundary_.text()),
      createdNs_(realNs()),
      lastStageNs_(monotonicNs()) {}

void TaskRun::stage(const char* name) {
  const int64_t now = monotonicNs();
  stages_.emplace_back(name, static_cast<uint64_t>(now - lastStageNs_));
  lastStageNs_ = now;
}

void TaskRun::emit(std::string_view name, Severity severity, std::string message,
                   std::vector<std::pair<std::string, std::string>> attributes) {
  evidence::Event event;
  event.name = name;
  event.severity = severity;
  event.zoneId = zoneId_;
  event.taskId = task_->request.id;
  event.source = "core";
  event.message = std::move(message);
  event.attributes = std::move(attributes);
  service_.events_.emit(std::move(event));
}

void TaskRun::record() {
  const auto& request = task_->request;
  store::TaskRow row;
  row.id = request.id;
  row.zoneId = zoneId_;
  row.zoneName = request.zoneName.empty() ? zoneId_ : request.zoneName;
  row.state = "running";
  row.ownerUid = request.peer.uid;
  row.createdNs = createdNs_;
  row.requestSummary = requestSummary();
  service_.store_.insertTask(row);
  recorded_ = true;
}

std::string TaskRun::requestSummary() const {
  const auto& request = task_->request;
  std::string out = "{\"image\":" + jsonString(request.image) + ",\"command\":[";
  size_t budget = 4096;  // the record is for people; the request itself may be megabytes
  for (size_t i = 0; i < request.argv.size() && request.argv[i].size() + 8 < budget; ++i) {
    out += (i == 0 ? "" : ",") + jsonString(request.argv[i]);
    budget -= request.argv[i].size() + 8;  // an empty word is not for nothing
  }
  out += "],\"repo_mode\":" + jsonString(repoModeName(request.repoMode));
  if (request.repo && request.repoPath.size() < PATH_MAX) out += ",\"repository\":" + jsonString(request.repoPath);
  return out + "}";
}

// What the image says about how it wants to be run, as far as the request leaves it open.
void TaskRun::applyImageConfig() {
  auto& request = task_->request;
  const std::string name = "image '" + toUtf8(image_->info.reference) + "'";
  if (request.argv.empty()) {
    request.argv = image::ownCommand(imageConfig_);
    if (request.argv.empty() || request.argv[0].empty())
      throw Error("usage", Code::invalid, "no command was given, and " + name + " names none of its own",
                  "write it after --, as in: rauha sandbox --image host -- /bin/true");
    service_.store_.setTaskSummary(request.id, requestSummary());
  }
  stopSignal_ = SIGTERM;
  if (!imageConfig_.stopSignal.empty()) {
    const auto signal = image::signalNumber(imageConfig_.stopSignal);
    if (!signal)
      notes_.push_back(name + ": its stop signal '" + toUtf8(imageConfig_.stopSignal.substr(0, 40)) + "' is none; SIGTERM is used");
    stopSignal_ = signal.value_or(SIGTERM);
  }
  // A volume is a directory like any other: the root is the task's own, and gone with it. Unless nothing of the root can be written.
  if (!imageConfig_.volumes.empty() && policy_->get().getFilesystem().getReadOnlyRoot())
    notes_.push_back(name + ": it wants to write to its volume '" + toUtf8(imageConfig_.volumes[0].substr(0, 200)) + "'" +
                     (imageConfig_.volumes.size() > 1 ? " and others" : "") +
                     ", but the root is read-only; the policy line that allows it: " + policy::allowingLine("filesystem.read_only_root"));
}

void TaskRun::checkRepoMode() {
  const auto& request = task_->request;
  if ((request.repoMode == schema::RepoMode::NONE) != !request.repo)
    throw Error("repository", Code::invalid, "a repository needs its descriptor and a mode", "pass --repo-path and --repo-mode together",
                request.repoPath);
  const bool overlay = request.repoMode == schema::RepoMode::OVERLAY;
  if (!request.from.empty() && !overlay)
    throw Error("repository", Code::invalid, "a task can only go on from another one in repository mode overlay",
                "leave --repo-mode out, or use --repo-mode overlay", request.from);
}

// What the kernel says about it is asked once, and never on this thread: the client may be the one who answers.
Task<void> TaskRun::openRepository() {
  const auto& request = task_->request;
  if (!request.repo) co_return;
  auto asking = service_.clientFiles_.stat(request.repo.get(), request.repoPath, request.peer.uid);
  repository_ = co_await kj::mv(asking);
  if (request.repoMode == schema::RepoMode::OVERLAY)
    changes_.emplace(service_.changes_, request.id, TaskChanges::Repository{request.repo.get(), request.repoPath, *repository_},
                     request.from, request.peer);
}

Task<void> TaskRun::prepare() {
  auto& request = task_->request;
  if (!request.argv.empty() && request.argv[0].empty())
    throw Error("usage", Code::invalid, "the command's name is empty", "write it after --, as in: rauha sandbox --image host -- /bin/true");
  checkRepoMode();
  auto opening = openRepository();
  co_await kj::mv(opening);
  policy_ = request.policyToml.empty() ? policy::builtinPolicy("task") : policy::parsePolicy(request.policyToml, request.policySource);
  noteWarnings();

  plugin::ImageRequest imageRequest;
  imageRequest.reference = request.image;
  imageRequest.sourceFd = request.imageSource.get();
  imageRequest.callerUid = request.peer.uid;
  imageRequest.callerGid = request.peer.gid;
  imageRequest.lease = zoneId_;
  imageRequest.pull = request.pull;
  imageRequest.platform = request.platform;
  imageRequest.credentials = std::exchange(request.imageCredentials, {});  // once; nothing else of the task has use for it
  const auto images = policy_->get().getImages();
  imageRequest.requireDigest = images.getRequireDigest();
  for (const auto registry : images.getRegistries()) imageRequest.registries.emplace_back(registry.begin(), registry.size());
  plugin::CallOptions options;
  ProgressRelay relay(service_.timer_);
  KJ_IF_MAYBE (sink, request.imageProgress) options.progress = relay.start(*sink);
  options.cancel = task_->token_;
  options.deadlineNs = monotonicNs() + kImageDeadlineNs;
  leased_ = true;
  auto imagePromise = service_.imageWorkers_.run([this, imageRequest, options] { return service_.images_.resolve(options, imageRequest); })
                          .eagerlyEvaluate(nullptr);

  ZoneRequest zoneRequest{zoneId_, request.zoneName, policy_->copy()};
  zoneRequest.temporary = !request.keepZone;
  zoneRequest.taskId = request.id;
  zoneRequest.ownerUid = request.peer.uid;
  zoneRequest.noSuidBits = request.repoMode == schema::RepoMode::RW;
  zoneRequest.waived = request.waived;
  // The image is resolved while the boundary is built: both block, neither needs the other.
  std::optional<Error> failure;
  try {
    auto creating = service_.zones_.create(std::move(zoneRequest));
    zone_ = co_await kj::mv(creating);
    boundary_.used();
    stage("zone");
  } catch (...) {
    failure = currentError("zone");
  }
  // Always awaited, whatever became of the zone: the worker uses our lease and the caller's descriptor.
  try {
    image_ = co_await kj::mv(imagePromise);
    relay.stop();
    imageConfig_ = image::parseConfig(image_->info.configJson, image_->info.reference);
    applyImageConfig();
    stage("image");
  } catch (...) {
    if (!failure) failure = currentError("image");
  }
  if (failure) throw *failure;
  noteTimeoutCut();
  for (const auto& waived : request.waived)
    emit(names::kPolicyDegraded, Severity::warning, "the required layer " + waived + " may be missing: waived by --allow-degraded",
         {{"layer", waived}});
}

image::ContainerRequest TaskRun::containerRequest() {
  auto& request = task_->request;
  image::ContainerRequest out;
  out.id = request.id;
  out.scratchDirectory = service_.zones_.scratchDirectory(zoneId_);
  out.hostname = zone_->name;
  out.argv = request.argv;
  out.env = request.env;
  out.workdir = request.workdir;
  out.user = request.user;
  out.terminal = request.terminal;
  out.rows = request.rows;
  out.columns = request.columns;
  out.stdin = request.stdin;
  out.callerUid = request.peer.uid;
  out.callerGid = request.peer.gid;
  if (request.repo) {
    image::Repository repository;
    using Mode = image::RepositoryMode;
    repository.mode = changes_ ? Mode::overlay : request.repoMode == schema::RepoMode::RW ? Mode::writable : Mode::readOnly;
    if (changes_) repository.lower = changes_->lower();
    repository.uid = request.peer.uid;
    repository.gid = request.peer.gid;
    if (request.peer.uid == 0) {
      // Root runs tasks on other people's trees: the tree's owner is who the task should be.
      repository.uid = repository_->st_uid;
      repository.gid = repository_->st_gid;
    }
    repository.directory = std::move(request.repo);
    out.repository = std::move(repository);
  }
  return out;
}

// The zone may be taken from under its task: deleted by another client with force, or its shim killed.
schema::Agent::Client TaskRun::agent() const {
  if (zone_->agent == nullptr)
    throw Error("zone", Code::conflict, "zone " + zoneId_ + " was ended while its task was on its way", "run it again", zoneId_);
  return zone_->agent->agent();
}

// Resolves when a step of the start has taken too long: sooner once the client wants the task to end.
kj::Promise<void> TaskRun::silence() {
  auto hurried = task_->cancelRequested_.addBranch().then([this] { return service_.timer_.afterDelay(kShimPatience); });
  return service_.timer_.afterDelay(kShimWorkPatience).exclusiveJoin(kj::mv(hurried));
}

// As silence(), but a copy may take as long as it is heard of.
Task<void> TaskRun::copySilence(const CopyWatch& watch) {
  const int64_t patience = kShimWorkPatience / kj::NANOSECONDS;
  int64_t left = patience;
  while (left > 0) {
    co_await service_.timer_.afterDelay(left * kj::NANOSECONDS);
    left = watch.heardNs() == 0 ? 0 : watch.heardNs() + patience - monotonicNs();
  }
}

Task<void> TaskRun::createContainer() {
  auto container = containerRequest();
  auto call = agent().createRequest();
  auto spec = call.initSpec();
  auto descriptors = image::buildContainerSpec(spec, *image_, imageConfig_, policy_->get(), container);
  auto list = spec.initDescriptors(static_cast<unsigned>(descriptors.size()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, kj::heap<DescriptorServer>(std::move(descriptors[i])));
  const CopyWatch copying(kj::mv(task_->request.copyProgress), [this](const CopyWatch::Report& report) {
    emit(names::kRepositoryCopying, Severity::notice, "the repository is copied: its file system cannot be id-mapped",
         {{"files", std::to_string(report.files)}, {"bytes", std::to_string(report.bytes)}});
  });
  if (changes_) call.setProgress(copying.capability());
  kj::Promise<capnp::Response<schema::Agent::CreateResults>> creating = call.send();
  auto hurried = task_->cancelRequested_.addBranch().then([this] { return service_.timer_.afterDelay(kShimPatience); });
  kj::Promise<void> silent = copySilence(copying);
  auto patient = answered(kj::mv(creating), silent.exclusiveJoin(kj::mv(hurried)));
  auto created = co_await kj::mv(patient);
  throwOnError(created.getOutcome());
  process_ = created.getProcess();
  task_->process_ = created.getProcess();
  for (const auto s : created.getStages()) stages_.emplace_back(std::string("agent.") + s.getName().cStr(), s.getNs());
  stage("container");
  // Evidence, not wishes: what the agent armed is what `require` is compared with, and nothing foreign has run yet.
  posture_ = zone_->posture;
  addProcessLayers(*posture_, created.getLayers());
  checkRequired(*posture_, policy_->get(), task_->request.waived, false);
  zone_->posture = *posture_;
  service_.zones_.recordPosture(*zone_);
  // Of an overlay they belong to its change set.
  if (!changes_)
    for (const auto& note : posture_->notes)
      if (note.rfind(kOfRepository, 0) == 0) notes_.push_back(note);
  // Before the first foreign instruction: a task that the enforcer does not know must not run.
  co_await service_.zones_.enforcement().label(zone_, created.getPid());
  labelled_ = service_.zones_.enforcement().configured();
  if (changes_) {
    auto attaching = changes_->attach(agent(), container.id, zone_->idBase, zone_->idCount);
    co_await kj::mv(attaching);
  }
}

Task<void> TaskRun::askEnforcer() {
  if (!labelled_) co_return;
  enforcement_ = co_await service_.zones_.enforcement().report(zoneId_);
  if (!enforcement_.incomplete.empty())
    emit(names::kEnforcementIncomplete, Severity::warning, "the enforcer's account of this run is not complete: " + enforcement_.incomplete,
         {{"enforcer", service_.zones_.enforcement().name()}, {"reason", enforcement_.incomplete}});
}

Task<void> TaskRun::startProcess() {
  auto& process = KJ_ASSERT_NONNULL(process_);
  auto& request = task_->request;
  stdout_->limit = stderr_->limit = policy_->get().getResources().getOutputBytes();
  auto attach = process.attachRequest();
  attach.setStdout(kj::heap<Capture>(stdout_, kj::mv(request.stdoutSink)));
  attach.setStderr(kj::heap<Capture>(stderr_, kj::mv(request.stderrSink)));
  auto attached = attach.send().ignoreResult();
  if (request.stdin)
    task_->stdin_.fulfiller->fulfill(process.stdinRequest().send().getSink());
  else
    task_->stdin_.fulfiller->reject(KJ_EXCEPTION(FAILED, "the task has no standard input"));
  startedMonotonicNs_ = monotonicNs();
  // All of these go out together; the agent takes them in this order.
  kj::Promise<capnp::Response<schema::Process::StartResults>> starting = process.startRequest().send();
  auto waiting = process.waitRequest().send();
  auto attachedInTime = answered(kj::mv(attached), silence());
  co_await kj::mv(attachedInTime);
  auto startedInTime = answered(kj::mv(starting), silence());
  auto started = co_await kj::mv(startedInTime);
  throwOnError(started.getOutcome());
  startedNs_ = realNs();
  started_ = true;
  stage("start");
  emit(names::kTaskStarted, Severity::info, "task runs", {{"command", request.argv[0]}, {"image", image_->info.reference}});
  waited_ = waiting
                .then([this](capnp::Response<schema::Process::WaitResults>&& response) {
                  exit_ = kj::mv(response);
                  exitedMonotonicNs_ = monotonicNs();
                })
                .fork();
}

uint64_t TaskRun::timeoutMs() const {
  const uint64_t byPolicy = policy_->get().getResources().getTimeoutMs(), asked = task_->request.timeoutMs;
  if (asked == 0) return byPolicy;
  return byPolicy == 0 ? asked : std::min(asked, byPolicy);
}

void TaskRun::noteTimeoutCut() {
  const uint64_t asked = task_->request.timeoutMs, used = timeoutMs();
  if (used >= asked) return;
  const std::string line = policy::allowingLine("resources.timeout", formatDurationMs(asked));
  const std::string what = "--timeout " + formatDurationMs(asked) + " was cut to " + formatDurationMs(used) + ", the most that policy '" +
                           policy_->name() + "' allows";
  emit(names::kPolicyTimeoutCut, Severity::warning, what,
       {{"asked_ms", std::to_string(asked)}, {"timeout_ms", std::to_string(used)}, {"allowing_line", line}});
  notes_.push_back(what + "; the policy line that allows it: " + line);
}

// What `rauha policy validate` warns of is no less true when the policy is used.
void TaskRun::noteWarnings() {
  for (const auto& warning : policy_->warnings()) {
    notes_.push_back("policy '" + policy_->name() + "': " + warning);
    emit(names::kPolicyWarning, Severity::warning, notes_.back(), {{"policy", policy_->name()}, {"warning", warning}});
  }
}

Task<TaskRun::End> TaskRun::waitForEnd() {
  auto& waited = KJ_ASSERT_NONNULL(waited_);
  kj::Promise<End> any = waited.addBranch().then([] { return End::exited; }, [](kj::Exception&&) { return End::lost; });
  any = any.exclusiveJoin(task_->cancelRequested_.addBranch().then([] { return End::cancelled; }));
  if (const uint64_t ms = timeoutMs(); ms > 0)
    any = any.exclusiveJoin(service_.timer_.afterDelay(ms * kj::MILLISECONDS).then([] { return End::timedOut; }));
  const End end = co_await kj::mv(any);
  co_return end;
}

// False: the shim said nothing, and waiting for what it would do is vain.
Task<bool> TaskRun::askToEnd(End why) {
  const uint64_t graceMs = policy_->get().getResources().getStopGraceMs();
  auto& process = KJ_ASSERT_NONNULL(process_);
  const int signal = why == End::cancelled ? task_->signal_ : stopSignal_;
  const bool gently = signal != 0 && graceMs > 0;
  kj::Promise<void> said = kj::READY_NOW;
  if (gently) {
    auto call = process.signalRequest();
    call.setNumber(signal);
    said = call.send().ignoreResult();
  } else if (zone_->agent != nullptr) {
    said = agent().helloRequest().send().ignoreResult();
  }
  // An error is an answer too: a lost shim's zone is gone already.
  auto heard =
      said.then([] { return true; }, [](kj::Exception&&) { return true; }).exclusiveJoin(service_.timer_.afterDelay(kShimPatience).then([] {
        return false;
      }));
  const bool answers = co_await kj::mv(heard);
  if (!answers || !gently) co_return answers;
  // Not `wait`: what the process leaves in the background has no grace, and would hold its output. An agent that does not know `died` yet
  // is waited for as before.
  kj::Promise<void> over = process.diedRequest().send().ignoreResult().catch_(
      [this](kj::Exception&&) { return KJ_ASSERT_NONNULL(waited_).addBranch().catch_([](kj::Exception&&) {}); });
  over = over.exclusiveJoin(service_.timer_.afterDelay(graceMs * kj::MILLISECONDS));
  over = over.exclusiveJoin(task_->killRequested_.addBranch());
  co_await kj::mv(over);
  co_return true;
}

Task<void> TaskRun::endZone(End why) {
  auto asking = askToEnd(why);
  const bool answers = co_await kj::mv(asking);
  if (!answers) {
    shimHangs_ = true;
    emit(names::kZoneFailed, Severity::error, "the shim of zone " + zoneId_ + " does not answer: the zone is ended from outside",
         {{"reason", "the shim does not answer"}});
    co_return;
  }
  if (zone_->agent == nullptr) co_return;  // somebody else ended the zone meanwhile
  // The first process may be gone while others of the zone live on.
  auto kill = agent().killAllRequest();
  kill.setGraceNs(0);
  const auto ignore = [](kj::Exception&&) {};
  auto ended =
      kill.send().ignoreResult().catch_(ignore).then([this, ignore] { return KJ_ASSERT_NONNULL(waited_).addBranch().catch_(ignore); });
  auto bounded = ended.exclusiveJoin(service_.timer_.afterDelay(kEndPatience));
  co_await kj::mv(bounded);
}

Task<void> TaskRun::runToEnd() {
  record();
  stage("record");
  if (task_->request.refusal) throw *task_->request.refusal;
  co_await prepare();
  if (task_->cancelling_) throw Error("task", Code::cancelled, "cancelled before it started");
  co_await createContainer();
  if (task_->cancelling_) throw Error("task", Code::cancelled, "cancelled before it started");
  co_await startProcess();
  end_ = co_await waitForEnd();
  stage("run");
  const bool cutOff = end_ == End::cancelled || end_ == End::timedOut;
  if (cutOff) co_await endZone(end_);
  if (exit_ == nullptr && !cutOff)
    throw Error("zone", Code::io, "the shim of zone " + zoneId_ + " was lost while the task ran",
                "run it again; `rauha doctor` tells whether something is wrong with this machine", zoneId_);
}

Task<void> TaskRun::cleanUp() {
  // Whoever still holds the process (a waiting promise, the client's stdin) must not keep the shim's connection busy.
  process_ = nullptr;
  task_->process_ = nullptr;
  if (!started_) task_->stdin_.fulfiller->reject(KJ_EXCEPTION(DISCONNECTED, "the task did not start"));
  co_await askEnforcer();  // while it still knows the zone
  std::vector<std::string> left;
  // A zone that was to be kept is not, when nobody could end the task in it.
  const bool keep = task_->request.keepZone && zone_ && started_ && !shimHangs_;
  // The lease and the zone need nothing of each other: the command has ended, or never began.
  kj::Promise<void> releasing = kj::READY_NOW;
  if (leased_ && !keep) releasing = service_.leaseWorkers_.run([this] { service_.images_.release({}, zoneId_); }).eagerlyEvaluate(nullptr);
  if (zone_ && !keep) {
    auto ending = endProcesses();
    sweep_ = co_await kj::mv(ending);
    if (!sweep_) {
      try {
        co_await service_.zones_.destroy(zoneId_);
      } catch (...) {
        zoneStands_ = currentError("zone").text();
        left.push_back("zone " + zoneId_ + ": " + zoneStands_);
      }
    }
    stage("teardown");
  }
  try {
    co_await kj::mv(releasing);
  } catch (...) {
    left.push_back("image lease of " + zoneId_ + ": " + currentError("image").text());
    service_.releaseImageLater(zoneId_);
  }
  for (const auto& what : left) emit(names::kZoneFailed, Severity::error, "left behind: " + what, {{"reason", what}});
}

// True: no process of the zone is left, by its agent's word. What then remains of it (groups, ids, directories) nobody can see or use, and
// the client need not wait for it. Not where somebody needs more than that: an enforcer forgets the zone first, a scratch on disk takes
// room there, and a task that was cut off has no hurry.
Task<bool> TaskRun::endProcesses() {
  const bool inMemory = policy_->get().getFilesystem().getScratch() == schema::ScratchKind::MEMORY;
  const bool plain = started_ && end_ == End::exited && exit_ != nullptr && inMemory && !service_.zones_.enforcement().configured();
  if (!plain || zone_->agent == nullptr || service_.sweeping_ >= kMostSweeping) co_return false;
  bool gone = false;
  ++service_.sweeping_;
  try {
    auto told = agent().shutdownRequest().send().ignoreResult().then([] { return true; }, [](kj::Exception&&) { return false; });
    auto inTime = told.exclusiveJoin(service_.timer_.afterDelay(kShimPatience).then([] { return false; }));
    gone = co_await kj::mv(inTime);
  } catch (...) {
    // It could not be asked: the zone is ended from outside.
  }
  if (!gone) --service_.sweeping_;
  co_return gone;
}

// The layer must stand still: nothing runs in the zone any more, or, when it is kept, it is frozen meanwhile.
Task<void> TaskRun::collectChanges() {
  if (!changes_ || !started_) co_return;
  const bool keep = task_->request.keepZone && zone_->agent != nullptr;
  if (!keep && !zoneStands_.empty()) {
    changes_->leave("zone " + zoneId_ + " could not be ended, its processes may be writing: " + zoneStands_);
    co_return;
  }
  std::vector<std::string> notes;
  for (const auto& note : posture_->notes)
    if (note.rfind(kOfRepository, 0) == 0) notes.push_back(note);
  if (keep) notes.push_back("zone " + zoneId_ + " is kept: what it changes from now on is not in this set");
  std::string moving;
  if (keep) {
    auto freezing = setFrozen(true);
    moving = co_await kj::mv(freezing);
  }
  if (moving.empty()) {
    auto collecting = changes_->collect(std::move(notes));
    co_await kj::mv(collecting);
  } else {
    changes_->leave("zone " + zoneId_ + " could not be frozen, its processes may be writing: " + moving);
    emit(names::kZoneFailed, Severity::error, "the changes of task " + task_->request.id + " are not collected: " + moving,
         {{"reason", moving}});
  }
  if (keep) {
    // Whatever came of it: what was asked to stand still must go on.
    auto thawing = setFrozen(false);
    const std::string stuck = co_await kj::mv(thawing);
    if (!stuck.empty())
      emit(names::kZoneFailed, Severity::error, "zone " + zoneId_ + " may have stayed frozen: " + stuck, {{"reason", stuck}});
  }
  stage("changes");
}

// Why it is not known to be so; empty: it is.
Task<std::string> TaskRun::setFrozen(bool frozen) {
  std::string problem;
  try {
    auto call = agent().freezeRequest();
    call.setFrozen(frozen);
    auto answer = answered(call.send().ignoreResult(), service_.timer_.afterDelay(kEndPatience));
    co_await kj::mv(answer);
  } catch (...) {
    problem = currentError("zone").text();
  }
  co_return problem;
}

Task<void> TaskRun::execute() {
  stdout_ = std::make_shared<Capture::State>();
  stderr_ = std::make_shared<Capture::State>();
  stdout_->limit = stderr_->limit = 0;
  events_ = service_.events_.collect(zoneId_);
  std::optional<Error> failure;
  try {
    co_await runToEnd();
  } catch (...) {
    failure = currentError("task");
  }
  co_await cleanUp();
  // Beside the collecting, which may take long, while others wait for what the zone holds; else not before the client has its result.
  kj::Promise<void> swept = kj::READY_NOW;
  const bool collecting = changes_.has_value();
  if (sweep_ && collecting) swept = service_.zones_.sweep(zoneId_).promise().eagerlyEvaluate(nullptr);
  std::exception_ptr unwritten;
  try {
    co_await collectChanges();
    finish(failure);
  } catch (...) {
    unwritten = std::current_exception();
  }
  // Before the client can hear of its result: it may unmount what it ran on.
  changes_.reset();
  image_.reset();
  task_->request.imageSource.reset();
  task_->request.repo.reset();
  if (sweep_) {
    if (!collecting) swept = service_.zones_.sweep(zoneId_);
    co_await kj::mv(swept);
    --service_.sweeping_;
  }
  if (unwritten) std::rethrow_exception(unwritten);
}

}  // namespace rauha
