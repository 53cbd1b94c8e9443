#pragma once
// The client services of schemas/client.capnp for one connection: turns messages into calls of the services, and errors into outcomes.
//
// Owner: the connection (through the capability). Thread: the event loop. The services outlive it.

#include <schemas/client.capnp.h>

#include <functional>

#include "core/base/coro.h"
#include "core/base/worker_pool.h"
#include "core/changes/change_store.h"
#include "core/evidence/event_bus.h"
#include "core/plugin/registry.h"
#include "core/rpc/connection.h"
#include "core/store/store.h"
#include "core/task/task_service.h"
#include "core/zone/zone_service.h"

namespace rauha::rpc {

// What every connection's service uses. Made once by main().
struct Services {
  WorkerPool& workers;
  WorkerPool& imageWorkers;  // for whatever reads or writes image content
  plugin::Registry& registry;
  ZoneService& zones;
  TaskService& tasks;
  evidence::EventBus& events;
  std::string version, instance, root;
  int64_t startedNs;
  std::function<void(const char* reason)> requestShutdown;
  store::Store& store;
  changes::ChangeStore& changes;
};

schema::Rauha::Client makeRauhaService(Services& services, const Peer& peer);

}  // namespace rauha::rpc
