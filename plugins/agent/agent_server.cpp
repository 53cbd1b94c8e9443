#include "plugins/agent/agent_server.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "core/base/error.h"
#include "core/base/schema_error.h"
#include "plugins/agent/confine.h"
#include "plugins/agent/plan_reader.h"
#include "plugins/agent/process_server.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr size_t kMaxContainers = 1024;
constexpr size_t kMaxDescriptors = 160;  // kMaxLayers of a root, and what comes with it
using Observer = kj::UnixEventPort::FdObserver;

Task<void> waitReadable(Observer& observer) { co_await observer.whenBecomesReadable(); }

Task<std::vector<UniqueFd>> takeDescriptors(capnp::List<schema::Descriptor>::Reader list) {
  if (list.size() > kMaxDescriptors)
    throw Error(kClass, Code::limit, "more than " + std::to_string(kMaxDescriptors) + " descriptors came with the container");
  std::vector<UniqueFd> out;
  for (auto capability : list) {
    kj::Maybe<int> maybe = co_await capability.getFd();
    KJ_IF_MAYBE (fd, maybe) {
      out.push_back(duplicate(*fd));
    } else {
      throw Error(kClass, Code::invalid, "descriptor " + std::to_string(out.size()) + " of the container did not arrive",
                  "the connection must be a Unix socket");
    }
  }
  co_return out;
}

// An open directory as a capability.
class DirectoryServer final : public schema::Descriptor::Server {
 public:
  explicit DirectoryServer(std::shared_ptr<UniqueFd> fd) : fd_(std::move(fd)) {}
  kj::Maybe<int> getFd() override { return fd_->get(); }

 private:
  std::shared_ptr<UniqueFd> fd_;
};

std::map<std::string, std::shared_ptr<UniqueFd>> takeLayers(Process& process, const RootPlan& root) {
  auto layers = process.takeWritableLayers();
  std::map<std::string, std::shared_ptr<UniqueFd>> out;
  size_t next = 0;
  for (const auto& m : root.mounts) {
    if (!m.overlay) continue;
    if (next == layers.size()) throw Error(kClass, Code::internal, "the writable layer of " + m.target + " did not arrive");
    out[m.target] = std::make_shared<UniqueFd>(std::move(layers[next++]));
  }
  return out;
}

void writeLayers(schema::Layers::Builder out, const Armed& armed) {
  out.setUserNamespace(armed.userNamespace);
  out.setSeccomp(armed.seccomp);
  out.setSeccompRules(armed.seccompRules);
  out.setLandlockAbi(armed.landlockAbi);
  out.setNoNewPrivs(armed.noNewPrivs);
  std::vector<std::string> names;
  for (unsigned n = 0; n < 64; ++n)
    if ((armed.capabilities >> n & 1) != 0) names.push_back(capabilityName(n));
  auto list = out.initCapabilities(static_cast<unsigned>(names.size()));
  for (unsigned i = 0; i < names.size(); ++i) list.set(i, names[i]);
  auto notes = out.initNotes(static_cast<unsigned>(armed.notes.size()));
  for (unsigned i = 0; i < armed.notes.size(); ++i) notes.set(i, armed.notes[i]);
}

// One call at a time: when the answer is late, what lies between is left out.
std::function<void(const Copying&)> copyReporter(schema::CopyProgress::Client client) {
  auto sending = std::make_shared<bool>(false);
  return [client = std::make_shared<schema::CopyProgress::Client>(kj::mv(client)), sending](const Copying& copying) {
    if (*sending && !copying.done) return;
    *sending = true;
    auto call = client->reportRequest();
    call.setFiles(copying.files);
    call.setBytes(copying.bytes);
    call.setDone(copying.done);
    call.send().ignoreResult().then([sending] { *sending = false; }, [](kj::Exception&&) {}).detach([](kj::Exception&&) {});
  };
}

}  // namespace

AgentServer::AgentServer(Loop loop, const Zone& zone, cgroup::ZoneGroups& groups, std::string version)
    : loop_(loop),
      zone_(zone),
      groups_(groups),
      version_(std::move(version)),
      initDeath_(loop.port, zone.init.get(), Observer::OBSERVE_READ),
      zoneGone_(nullptr),
      shutdown_(nullptr),
      tasks_(errors_) {
  // The kernel lets process 1 of a pid namespace end only after everything else in it has.
  zoneGone_ = waitReadable(initDeath_).promise().fork();
  auto paf = kj::newPromiseAndFulfiller<void>();
  shutdownFulfiller_ = kj::mv(paf.fulfiller);
  shutdown_ = paf.promise.fork();
  if (groups_.oomFd() >= 0) {
    const unsigned flags = (groups_.oomPollEvents() & 2) != 0 ? Observer::OBSERVE_URGENT | Observer::OBSERVE_READ : Observer::OBSERVE_READ;
    memoryEvents_ = kj::heap<Observer>(loop_.port, groups_.oomFd(), flags);
    tasks_.add(watchMemory());
  }
}

void AgentServer::requireAlive() const {
  if (ended_) throw Error(kClass, Code::conflict, "zone " + zone_.id + " was ended, nothing can be started in it", "make a new zone");
}

void AgentServer::noteOutOfMemory() {
  if (!groups_.outOfMemory()) return;
  outOfMemory_ = true;
  // On v1, and on v2 for threads of different groups, the kernel kills one process; the rest would go on with half of its parts missing.
  ended_ = true;
  groups_.kill();
}

Task<void> AgentServer::watchMemory() {
  auto& observer = *KJ_ASSERT_NONNULL(memoryEvents_);
  while (!outOfMemory_) {
    auto event = (groups_.oomPollEvents() & 2) != 0 ? observer.whenUrgentDataAvailable() : observer.whenBecomesReadable();
    co_await kj::mv(event);
    // v1 tells before it kills: the counter follows within a moment.
    for (int i = 0; i < 50 && !outOfMemory_; ++i) {
      noteOutOfMemory();
      if (!outOfMemory_) co_await loop_.timer.afterDelay(2 * kj::MILLISECONDS);
    }
  }
}

kj::Promise<void> AgentServer::hello(HelloContext context) {
  auto out = context.getResults();
  out.setVersion(version_);
  out.setZoneId(zone_.id);
  out.setPid(zone_.initPid);
  return kj::READY_NOW;
}

std::shared_ptr<Process> AgentServer::adopt(Spawned spawned, const ProcessPlan& plan) {
  auto process = std::make_shared<Process>(loop_, std::move(spawned), plan.terminal, plan.stdinOpen);
  running_.push_back(process);
  tasks_.add(process->reaped().then([this, process]() { running_.remove(process); }));
  return process;
}

kj::Promise<void> AgentServer::create(CreateContext context) { return createContainer(context); }

Task<void> AgentServer::createContainer(CreateContext context) {
  auto results = context.getResults();
  try {
    requireAlive();
    auto spec = context.getParams().getSpec();
    const std::string id(spec.getId().cStr(), spec.getId().size());
    if (id.empty() || id.size() > 64) throw Error(kClass, Code::invalid, "the container has no usable id");
    if (containers_.count(id) != 0) throw Error(kClass, Code::exists, "container " + id + " exists already");
    if (containers_.size() >= kMaxContainers)
      throw Error(kClass, Code::limit, "the zone had " + std::to_string(kMaxContainers) + " containers, no more");
    const std::vector<UniqueFd> descriptors = co_await takeDescriptors(spec.getDescriptors());
    const RootPlan root = readRoot(spec.getRootfs(), descriptors.size());
    const ProcessPlan plan = readProcess(spec.getProcess());
    const bool noSuid = root.writesHostTree();
    if (noSuid && zone_.userNamespace && zone_.seccompNoSuid.empty())
      throw Error(kClass, Code::denied,
                  "zone " + zone_.id + " was made without the filter against set-user-ID bits, a host directory cannot be writable in it",
                  "make a new zone for a writable repository");
    auto process = adopt(spawnContainer({zone_, groups_, noSuid}, root, plan, prepareRoot(root, descriptors)), plan);
    if (context.getParams().hasProgress()) process->watchCopying(copyReporter(context.getParams().getProgress()));
    const Ready ready = co_await process->ready();
    containers_[id] =
        Container{process, takeLayers(*process, root), ready.hostUid, ready.hostGid, noSuid, static_cast<int>(ready.armed.landlockAbi)};
    results.setProcess(kj::heap<ProcessServer>(*this, process));
    results.setPid(process->pid());
    results.initOutcome().setOk();
    writeLayers(results.initLayers(), ready.armed);
    auto stages = results.initStages(static_cast<unsigned>(ready.stages.size()));
    for (unsigned i = 0; i < ready.stages.size(); ++i) {
      stages[i].setName(ready.stages[i].first);
      stages[i].setNs(ready.stages[i].second);
    }
  } catch (...) {
    writeOutcome(results.initOutcome(), currentError(kClass));
  }
}

kj::Promise<void> AgentServer::exec(ExecContext context) { return execProcess(context); }

Task<void> AgentServer::execProcess(ExecContext context) {
  auto results = context.getResults();
  try {
    requireAlive();
    auto params = context.getParams();
    const std::string id(params.getContainerId().cStr(), params.getContainerId().size());
    const auto found = containers_.find(id);
    if (found == containers_.end()) throw Error(kClass, Code::notFound, "there is no container " + id + " in zone " + zone_.id);
    const Container container = found->second;
    if (!container.process->alive())
      throw Error(kClass, Code::conflict, "the first process of container " + id + " has ended, nothing can join it");
    const ProcessPlan plan = readProcess(params.getSpec());
    const JoinTarget target{container.process->pidfd(), container.process->ruleset(), container.landlockAbi};
    auto process = adopt(spawnInContainer({zone_, groups_, container.noSuid}, target, plan), plan);
    const Ready ready = co_await process->ready();
    results.setProcess(kj::heap<ProcessServer>(*this, process));
    results.setPid(process->pid());
    results.initOutcome().setOk();
  } catch (...) {
    writeOutcome(results.initOutcome(), currentError(kClass));
  }
}

Task<void> AgentServer::kill_() {
  ended_ = true;
  groups_.kill();
  co_await zoneGone_.addBranch();
}

kj::Promise<void> AgentServer::kill() { return kill_(); }

Task<void> AgentServer::killAllOf(uint64_t graceNs) {
  ended_ = true;
  if (graceNs > 0 && !running_.empty()) {
    auto dead = kj::heapArrayBuilder<kj::Promise<void>>(running_.size());
    for (const auto& process : running_) {
      process->signal(SIGTERM);
      dead.add(process->reaped());
    }
    const uint64_t bounded = std::min<uint64_t>(graceNs, 3600ull * 1000 * 1000 * 1000);
    co_await kj::joinPromises(dead.finish()).exclusiveJoin(loop_.timer.afterDelay(bounded * kj::NANOSECONDS));
  }
  co_await kill_();
}

kj::Promise<void> AgentServer::killAll(KillAllContext context) { return killAllOf(context.getParams().getGraceNs()); }

kj::Promise<void> AgentServer::freeze(FreezeContext context) {
  try {
    groups_.freeze(context.getParams().getFrozen());
  } catch (...) {
    return currentKj();
  }
  return kj::READY_NOW;
}

void AgentServer::writeUsage(schema::Usage::Builder out) {
  const cgroup::Usage u = groups_.usage();
  out.setCpuUserUs(u.cpuUserUs);
  out.setCpuSystemUs(u.cpuSystemUs);
  out.setMemoryPeakBytes(u.memoryPeakBytes);
  out.setPidsPeak(u.pidsPeak);
  out.setIoReadBytes(u.ioReadBytes);
  out.setIoWriteBytes(u.ioWriteBytes);
  out.setOomKills(u.oomKills);
  out.setPidsRefused(u.pidsRefused);
  auto partial = out.initPartial(static_cast<unsigned>(u.partial.size()));
  for (unsigned i = 0; i < u.partial.size(); ++i) partial.set(i, u.partial[i]);
}

kj::Promise<void> AgentServer::usage(UsageContext context) {
  try {
    writeUsage(context.getResults().initUsage());
  } catch (...) {
    return currentKj();
  }
  return kj::READY_NOW;
}

kj::Promise<void> AgentServer::shutdown(ShutdownContext) {
  return kill().then([this]() { shutdownFulfiller_->fulfill(); });
}

kj::Promise<void> AgentServer::exit(ExitContext context) {
  const auto id = context.getParams().getContainerId();
  const auto found = containers_.find(std::string(id.cStr(), id.size()));
  auto out = context.getResults();
  out.setKnown(found != containers_.end());
  if (found == containers_.end()) return kj::READY_NOW;
  const Process& process = *found->second.process;
  out.setRunning(process.alive());
  try {
    if (!process.alive()) writeExit(process, out.initExit());
  } catch (...) {
    return currentKj();
  }
  return kj::READY_NOW;
}

kj::Promise<void> AgentServer::writableLayer(WritableLayerContext context) {
  auto results = context.getResults();
  try {
    auto params = context.getParams();
    const std::string id(params.getContainerId().cStr(), params.getContainerId().size());
    const std::string target(params.getTarget().cStr(), params.getTarget().size());
    const auto container = containers_.find(id);
    if (container == containers_.end()) throw Error(kClass, Code::notFound, "there is no container " + id + " in zone " + zone_.id);
    const auto layer = container->second.writableLayers.find(target);
    if (layer == container->second.writableLayers.end())
      throw Error(kClass, Code::notFound, "container " + id + " has no overlay at " + target);
    results.setLayer(kj::heap<DirectoryServer>(layer->second));
    results.setRunUid(container->second.hostUid);
    results.setRunGid(container->second.hostGid);
    results.initOutcome().setOk();
  } catch (...) {
    writeOutcome(results.initOutcome(), currentError(kClass));
  }
  return kj::READY_NOW;
}

kj::Promise<void> AgentServer::finished(std::shared_ptr<Process> process) { return finish(kj::mv(process)); }

Task<void> AgentServer::finish(std::shared_ptr<Process> process) {
  co_await process->reaped();
  if (!outOfMemory_) noteOutOfMemory();
  co_await process->drained();
}

void AgentServer::writeExit(const Process& process, schema::ExitInfo::Builder out) {
  const Ended& e = process.ended();
  if (e.signaled)
    out.setSignaled(static_cast<uint8_t>(e.number));
  else
    out.setExited(static_cast<uint8_t>(e.number));
  out.setOutOfMemory(outOfMemory_);
  out.setStartedNs(e.startedNs);
  out.setFinishedNs(e.finishedNs);
  writeUsage(out.initUsage());
}

void AgentServer::abandon(Process& process) {
  if (process.alive() && !process.started()) process.signal(SIGKILL);
}

}  // namespace rauha::agent
