#pragma once
// A backend and an image source without kernel objects, for tests of core. Each call can be told to fail. The agent behind a fake zone runs
// on the test's own event loop, and does what its script says.
//
// Threads: the backend's calls come on workers; everything scripted is set before they do.

#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/io.h>
#include <schemas/agent.capnp.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "core/base/schema_error.h"
#include "core/plugin/backend.h"
#include "core/plugin/image_source.h"
#include "core/zone/agent_client.h"

namespace rauha::testing {

// What the process of a fake zone does.
struct AgentScript {
  std::string createError, startError;  // text; empty: succeeds
  std::string output;                   // written to stdout after start
  int exitCode = 0;
  int signaled = 0;
  uint64_t pidsRefused = 0;
  bool outOfMemory = false;
  bool runsForEver = false;     // until a signal or killAll
  bool ignoresSignals = false;  // only killAll ends it
  bool leavesChild = false;     // a signal ends it, but a child of it holds its output until killAll
  bool seccomp = true;
  bool hangs = false;          // answers nothing more, as a stopped shim
  bool shutdownHangs = false;  // the same, after the task
  bool freezeFails = false;
  std::string layer;          // directory: the writable layer of the repository; empty: there is none
  std::vector<bool> freezes;  // what was asked, in order
  std::vector<int> signals;   // as freezes
};

class FakeProcess final : public schema::Process::Server {
 public:
  FakeProcess(AgentScript& script)
      : script_(script),
        dead_(kj::newPromiseAndFulfiller<void>()),
        diedOnce_(dead_.promise.fork()),
        over_(kj::newPromiseAndFulfiller<void>()),
        done_(over_.promise.fork()) {}
  void die(int signal) {
    if (killedBy_ == 0) killedBy_ = signal;
    dead_.fulfiller->fulfill();
  }
  void end(int signal) {
    die(signal);
    over_.fulfiller->fulfill();
  }
  kj::Promise<void> died(DiedContext) override { return diedOnce_.addBranch(); }
  kj::Promise<void> start(StartContext context) override {
    if (!script_.startError.empty()) {
      writeOutcome(context.getResults().initOutcome(), Error("command", Code::notFound, script_.startError));
      return kj::READY_NOW;
    }
    kj::Promise<void> written = kj::READY_NOW;
    KJ_IF_MAYBE (sink, stdout_) {
      auto request = sink->writeRequest();
      request.setChunk(kj::arrayPtr(reinterpret_cast<const kj::byte*>(script_.output.data()), script_.output.size()));
      written = request.send();
    }
    return written.then([this] {
      if (!script_.runsForEver) over_.fulfiller->fulfill();
    });
  }
  kj::Promise<void> wait(WaitContext context) override {
    return done_.addBranch().then([this, context]() mutable {
      auto exit = context.getResults().initExit();
      if (killedBy_ != 0 || script_.signaled != 0)
        exit.setSignaled(static_cast<uint8_t>(killedBy_ != 0 ? killedBy_ : script_.signaled));
      else
        exit.setExited(static_cast<uint8_t>(script_.exitCode));
      exit.setOutOfMemory(script_.outOfMemory);
      exit.initUsage().setPidsPeak(3);
      exit.getUsage().setPidsRefused(script_.pidsRefused);
    });
  }
  kj::Promise<void> signal(SignalContext context) override {
    if (script_.hangs) return kj::NEVER_DONE;
    const int number = context.getParams().getNumber();
    script_.signals.push_back(number);
    if (script_.leavesChild) die(number);
    if (!script_.ignoresSignals && !script_.leavesChild) end(number);
    return kj::READY_NOW;
  }
  kj::Promise<void> attach(AttachContext context) override {
    stdout_ = context.getParams().getStdout();
    return kj::READY_NOW;
  }
  kj::Promise<void> resize(ResizeContext) override { return kj::READY_NOW; }

 private:
  AgentScript& script_;
  kj::PromiseFulfillerPair<void> dead_;
  kj::ForkedPromise<void> diedOnce_;
  kj::PromiseFulfillerPair<void> over_;
  kj::ForkedPromise<void> done_;
  int killedBy_ = 0;
  kj::Maybe<schema::ByteSink::Client> stdout_;
};

class FakeAgent final : public schema::Agent::Server {
 public:
  explicit FakeAgent(AgentScript& script) : script_(script) {}
  kj::Promise<void> hello(HelloContext) override { return script_.hangs ? kj::Promise<void>(kj::NEVER_DONE) : kj::READY_NOW; }
  kj::Promise<void> create(CreateContext context) override {
    if (script_.hangs) return kj::NEVER_DONE;
    auto results = context.getResults();
    if (!script_.createError.empty()) {
      writeOutcome(results.initOutcome(), Error("image", Code::corrupt, script_.createError));
      return kj::READY_NOW;
    }
    auto process = kj::heap<FakeProcess>(script_);
    process_ = process.get();
    results.setProcess(kj::mv(process));
    results.setPid(1234);
    auto layers = results.initLayers();
    layers.setSeccomp(script_.seccomp);
    layers.setLandlockAbi(7);
    layers.setNoNewPrivs(true);
    return kj::READY_NOW;
  }
  kj::Promise<void> killAll(KillAllContext) override {
    if (script_.hangs) return kj::NEVER_DONE;
    if (process_ != nullptr) process_->end(9);
    return kj::READY_NOW;
  }
  kj::Promise<void> shutdown(ShutdownContext) override {
    return script_.hangs || script_.shutdownHangs ? kj::Promise<void>(kj::NEVER_DONE) : kj::READY_NOW;
  }
  kj::Promise<void> usage(UsageContext) override { return kj::READY_NOW; }
  kj::Promise<void> freeze(FreezeContext context) override {
    if (script_.hangs) return kj::NEVER_DONE;
    const bool frozen = context.getParams().getFrozen();
    script_.freezes.push_back(frozen);
    if (frozen && script_.freezeFails) return KJ_EXCEPTION(FAILED, "processes are still running");
    return kj::READY_NOW;
  }
  kj::Promise<void> writableLayer(WritableLayerContext context) override {
    UniqueFd layer(open(script_.layer.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!layer) throwErrno("test", "open the layer");
    context.getResults().setLayer(kj::heap<DescriptorServer>(std::move(layer)));
    context.getResults().setRunUid(1879048192);
    context.getResults().setRunGid(1879048192);
    return kj::READY_NOW;
  }

 private:
  AgentScript& script_;
  FakeProcess* process_ = nullptr;  // lives as long as core holds the capability, which is as long as the task
};

class FakeBackend final : public plugin::Backend {
 public:
  explicit FakeBackend(kj::AsyncIoContext& io) : io_(io), executor_(kj::getCurrentThreadExecutor()) {}
  AgentScript script;
  std::set<std::string> fail;  // names of calls that fail: "createZone", "destroyZone", …
  size_t room = SIZE_MAX;      // so many zones at once
  // While it is held, destroyZone does not return.
  std::shared_timed_mutex destroyGate;
  bool preparing = false;        // knows how
  std::timed_mutex prepareGate;  // as destroyGate, for prepareZone

  const std::string& name() const noexcept override { return name_; }
  std::vector<plugin::Layer> probe(const plugin::CallOptions&) override { return {}; }
  plugin::ZoneHandle createZone(const plugin::CallOptions&, const plugin::ZoneSpec& spec) override {
    failIf("createZone");
    if (zones().size() - zones().count(spec.id) >= room) throw Error("backend", Code::limit, "there is no room for one more zone");
    plugin::ZoneHandle handle;
    handle.agent = serve(spec.id);
    handle.shimPid = 4321;
    handle.idBase = 1879048192;
    handle.idCount = 65536;
    for (const char* layer : {"user_namespace", "cgroup_cpu", "cgroup_memory", "cgroup_pids", "network"})
      handle.layers.push_back({layer, plugin::LayerState::full, "fake", "", ""});
    handle.layers.push_back({"cgroup_io", plugin::LayerState::partial, "v1 hybrid", "buffered writes escape", ""});
    std::lock_guard lock(mutex_);
    zones_.insert(spec.id);
    specs_.push_back(spec);
    return handle;
  }
  void prepareZone(const plugin::CallOptions& options, const plugin::ZoneSpec& spec) override {
    {
      const std::lock_guard lock(mutex_);
      ++prepareCalls_;
    }
    if (!preparing) return Backend::prepareZone(options, spec);
    failIf("prepareZone");
    const Inside inside(*this, spec.id);
    const std::lock_guard open(prepareGate);
    const std::lock_guard lock(mutex_);
    zones_.insert(spec.id);
  }
  plugin::ZoneHandle connectZone(const plugin::CallOptions&, std::string_view id) override {
    failIf("connectZone");
    plugin::ZoneHandle handle;
    handle.agent = serve(std::string(id));
    return handle;
  }
  void updateZone(const plugin::CallOptions&, const plugin::ZoneSpec& spec) override {
    failIf("updateZone");
    const Inside inside(*this, spec.id);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // so that another call has the chance to overlap
    std::lock_guard lock(mutex_);
    specs_.push_back(spec);
  }
  void destroyZone(const plugin::CallOptions&, std::string_view id) override {
    failIf("destroyZone");
    const Inside inside(*this, std::string(id));
    const std::shared_lock open(destroyGate);
    std::lock_guard lock(mutex_);
    zones_.erase(std::string(id));
  }
  void checkZone(const plugin::CallOptions&, std::string_view) override {}
  std::vector<plugin::Finding> reconcile(const plugin::CallOptions&, const std::vector<std::string>& keep) override {
    failIf("reconcile");
    std::lock_guard lock(mutex_);
    kept_ = keep;
    return {{"", "cgroup /x", "removed"}};
  }

  std::set<std::string> zones() const {
    std::lock_guard lock(mutex_);
    return zones_;
  }
  std::vector<plugin::ZoneSpec> specs() const {
    std::lock_guard lock(mutex_);
    return specs_;
  }
  std::vector<std::string> kept() const {
    std::lock_guard lock(mutex_);
    return kept_;
  }
  size_t prepareCalls() const {
    std::lock_guard lock(mutex_);
    return prepareCalls_;
  }
  // Two calls about one zone at once: the contract says never.
  bool overlapped() const {
    std::lock_guard lock(mutex_);
    return overlapped_;
  }
  // As a shim that was killed.
  void loseShim(const std::string& id) { servers_.erase(id); }

 private:
  struct Server {
    kj::Own<kj::AsyncCapabilityStream> stream;
    capnp::TwoPartyVatNetwork network;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
    Server(kj::Own<kj::AsyncCapabilityStream> s, capnp::Capability::Client agent)
        : stream(kj::mv(s)), network(*stream, 4, capnp::rpc::twoparty::Side::SERVER), rpc(capnp::makeRpcServer(network, kj::mv(agent))) {}
  };
  class Inside {
   public:
    Inside(FakeBackend& backend, std::string zone) : backend_(backend), zone_(std::move(zone)) {
      std::lock_guard lock(backend_.mutex_);
      if (!backend_.inside_.insert(zone_).second) backend_.overlapped_ = true;
    }
    ~Inside() {
      std::lock_guard lock(backend_.mutex_);
      backend_.inside_.erase(zone_);
    }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    FakeBackend& backend_;
    const std::string zone_;
  };
  void failIf(const char* call) {
    if (fail.contains(call)) throw Error("backend", Code::io, std::string(call) + " fails as told");
  }
  UniqueFd serve(std::string id) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) throwErrno("backend", "socketpair");
    executor_.executeSync([&] {
      servers_[id] =
          std::make_unique<Server>(io_.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(ends[1])), kj::heap<FakeAgent>(script));
    });
    return UniqueFd(ends[0]);
  }
  const std::string name_ = "fake";
  kj::AsyncIoContext& io_;
  const kj::Executor& executor_;
  mutable std::mutex mutex_;
  std::set<std::string> zones_;
  std::vector<plugin::ZoneSpec> specs_;
  std::vector<std::string> kept_;
  std::set<std::string> inside_;
  size_t prepareCalls_ = 0;
  bool overlapped_ = false;
  std::map<std::string, std::unique_ptr<Server>> servers_;
};

class FakeImages final : public plugin::ImageSource {
 public:
  std::string error;       // text of resolve's failure; empty: succeeds
  std::string configJson;  // of what resolve gives
  const std::string& name() const noexcept override { return name_; }
  plugin::ResolvedImage resolve(const plugin::CallOptions&, const plugin::ImageRequest& request) override {
    std::lock_guard lock(mutex_);
    if (!error.empty()) throw Error("image", Code::notFound, error);
    leases_.insert(request.lease);
    plugin::ResolvedImage image;
    image.info.reference = request.reference;
    image.info.digest = "sha256:" + std::string(64, '0');
    image.info.configJson = configJson;
    image.layers.push_back({"/nowhere", UniqueFd(), plugin::LayerMapping::zone});
    return image;
  }
  void release(const plugin::CallOptions&, std::string_view lease) override {
    std::lock_guard lock(mutex_);
    leases_.erase(std::string(lease));
  }
  std::vector<plugin::ResolvedImage> list(const plugin::CallOptions&) override { return {}; }
  plugin::ResolvedImage inspect(const plugin::CallOptions&, const plugin::ImageRequest&) override { return {}; }
  void remove(const plugin::CallOptions&, std::string_view) override {}
  plugin::ResolvedImage importImage(const plugin::CallOptions&, const plugin::ImageRequest&) override { return {}; }
  void reconcile(const plugin::CallOptions&, const std::vector<std::string>&) override {}
  std::set<std::string> leases() const {
    std::lock_guard lock(mutex_);
    return leases_;
  }

 private:
  const std::string name_ = "fake-images";
  mutable std::mutex mutex_;
  std::set<std::string> leases_;
};

}  // namespace rauha::testing
