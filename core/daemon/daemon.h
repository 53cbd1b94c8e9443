#pragma once
// The daemon as an object: built from an instance and a configuration, serves until told to stop or (on demand) until it is idle.
//
// Members are in the order of dependence, so that destruction is the reverse of construction. Thread: the event loop.

#include <kj/async-io.h>

#include <functional>
#include <memory>

#include "core/base/log.h"
#include "core/base/worker_pool.h"
#include "core/changes/change_store.h"
#include "core/daemon/config.h"
#include "core/daemon/containment.h"
#include "core/daemon/event_log.h"
#include "core/daemon/instance.h"
#include "core/daemon/plugin_state.h"
#include "core/evidence/event_bus.h"
#include "core/plugin/registry.h"
#include "core/rpc/listener.h"
#include "core/rpc/rauha_service.h"
#include "core/store/store.h"
#include "core/task/task_service.h"
#include "core/zone/zone_service.h"

namespace rauha {

class Daemon final {
 public:
  // Opens the store and loads the plugins; throws Error when the daemon cannot run.
  Daemon(kj::AsyncIoContext& io, const Instance& instance, const Config& config, Log& log, bool onDemand);
  // Cleans up after an earlier daemon. Before clients are served.
  Task<void> reconcile();
  // Serves on the socket until a stop is asked for or, on demand, until nothing was done for the configured time.
  Task<void> serve(UniqueFd socket, bool socketIsOurs);
  void requestShutdown(const char* reason);
  // With any, the process must end by _exit(): they may still use what a destructor would take away.
  size_t abandonedWorkers() const;

 private:
  plugin::PluginConfig pluginConfig() const;
  void showPlugins();
  plugin::HostCallbacks hostCallbacks();
  Task<void> reconcileChanges();
  Task<void> leaveWhenIdle();
  bool tryLeave();
  bool idle() const;

  kj::AsyncIoContext& io_;
  const Instance instance_;
  const Config config_;
  Log& log_;
  const bool onDemand_;
  bool socketIsOurs_ = false;
  const int64_t startedNs_;
  store::Store store_;
  PluginState pluginState_;
  evidence::EventBus events_;
  EventLog eventLog_;
  WorkerPool workers_;
  WorkerPool imageWorkers_;  // images may take minutes; zones must not wait for them
  changes::ChangeStore changes_;
  std::unique_ptr<plugin::Registry> registry_;
  ZoneService zones_;
  TaskService tasks_;
  Containment containment_;
  rpc::Services services_;
  rpc::Listener listener_;
  kj::PromiseFulfillerPair<void> stop_;
  std::string stopReason_;
};

}  // namespace rauha
