#pragma once
// The agent protocol's server (schemas/agent.capnp): owns what runs in one zone. One object for all connections; it survives each of them.
// KJ, event loop's thread, and the process must have no other thread (its children allocate after fork).
//
// Nothing here decides: the plan, the limits and the filters are given. What must not be weaker than asked ends the start; see confine.h.

#include <schemas/agent.capnp.h>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plugins/agent/process.h"
#include "plugins/agent/zone.h"

namespace rauha::agent {

class AgentServer final : public schema::Agent::Server {
 public:
  // version: answered by hello. zone and groups outlive the server.
  AgentServer(Loop loop, const Zone& zone, cgroup::ZoneGroups& groups, std::string version);
  ~AgentServer() noexcept(false) {}

  kj::Promise<void> hello(HelloContext context) override;
  kj::Promise<void> create(CreateContext context) override;
  kj::Promise<void> exec(ExecContext context) override;
  kj::Promise<void> killAll(KillAllContext context) override;
  kj::Promise<void> freeze(FreezeContext context) override;
  kj::Promise<void> usage(UsageContext context) override;
  kj::Promise<void> shutdown(ShutdownContext context) override;
  kj::Promise<void> exit(ExitContext context) override;
  kj::Promise<void> writableLayer(WritableLayerContext context) override;

  // Ends the zone at once; resolves when nothing of it is left.
  kj::Promise<void> kill();
  // Resolves when `shutdown` has been answered for.
  kj::Promise<void> whenShutdown() { return shutdown_.addBranch(); }

  // For the Process capabilities.
  kj::Promise<void> finished(std::shared_ptr<Process> process);
  void writeExit(const Process& process, schema::ExitInfo::Builder out);
  // A client dropped a process that it never started: nobody else can start it.
  void abandon(Process& process);

 private:
  struct Container {
    std::shared_ptr<Process> process;
    // By target. Held until the agent ends: whoever asks does so when the container is dead.
    std::map<std::string, std::shared_ptr<UniqueFd>> writableLayers;
    uint32_t hostUid = 0, hostGid = 0;
    bool noSuid = false;
    int landlockAbi = 0;
  };
  Task<void> createContainer(CreateContext context);
  Task<void> execProcess(ExecContext context);
  Task<void> killAllOf(uint64_t graceNs);
  Task<void> kill_();
  Task<void> watchMemory();
  Task<void> finish(std::shared_ptr<Process> process);
  std::shared_ptr<Process> adopt(Spawned spawned, const ProcessPlan& plan);
  void requireAlive() const;
  void noteOutOfMemory();
  void writeUsage(schema::Usage::Builder out);

  Loop loop_;
  const Zone& zone_;
  cgroup::ZoneGroups& groups_;
  std::string version_;
  bool outOfMemory_ = false, ended_ = false;
  std::map<std::string, Container> containers_;
  std::list<std::shared_ptr<Process>> running_;  // until reaped
  kj::UnixEventPort::FdObserver initDeath_;
  kj::ForkedPromise<void> zoneGone_;
  kj::Own<kj::PromiseFulfiller<void>> shutdownFulfiller_;
  kj::ForkedPromise<void> shutdown_;
  kj::Maybe<kj::Own<kj::UnixEventPort::FdObserver>> memoryEvents_;

  struct TaskErrors final : kj::TaskSet::ErrorHandler {
    void taskFailed(kj::Exception&&) override {}  // each task reports to whoever waits for it
  };
  TaskErrors errors_;
  kj::TaskSet tasks_;
};

}  // namespace rauha::agent
