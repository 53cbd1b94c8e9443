#pragma once
// A backend as core sees it: builds and removes the boundary of zones ("rauha.backend/1", sdk/include/rauha/backend.h).
//
// An interface; the adapter over a plugin's table implements it, and so may a test. Owner: the Registry. Every call blocks: it belongs on
// a worker, calls about one zone under WorkerPool::runSerial(zone id). Errors: rauha::Error of class "backend" with the plugin's text.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/plugin/call.h"

namespace rauha::plugin {

enum class LayerState { missing, partial, full };

// One layer of protection, as probed or as armed.
struct Layer {
  std::string name;  // as in a policy's `require`: "seccomp", "cgroup_memory", …
  LayerState state = LayerState::missing;
  std::string detail;  // what was found or armed
  std::string reason;  // why it is not full; empty when it is
  std::string remedy;  // what an operator can do; empty when nothing can be said
};

// One statement of the policy's view for this backend. All are critical: a backend that does not know the tag refuses the zone.
struct ZoneRecord {
  uint32_t tag = 0;  // RAUHA_ZONE_* of <rauha/backend.h>
  uint64_t number = 0;
  std::string text;
};

enum class ZoneNetwork { isolated, bridged, host };

struct ZoneSpec {
  std::string id;  // "zone_…"
  std::string hostname;
  ZoneNetwork network = ZoneNetwork::isolated;
  bool ephemeral = false;   // the zone dies when the agent's socket is lost
  bool usernsHost = false;  // zone root is host root: privileged zones only
  std::vector<ZoneRecord> records;
};

// What a zone that stands is reached by.
struct ZoneHandle {
  UniqueFd agent;       // connected stream socket, agent protocol (schemas/agent.capnp)
  int shimPid = 0;      // 0: none on this host
  uint32_t idBase = 0;  // first host id of the zone's range; 0 with usernsHost
  uint32_t idCount = 0;
  UniqueFd cgroup;            // directory of the zone's control group in the v2 tree; none: the backend has none
  std::vector<Layer> layers;  // armed by the backend itself; empty after connectZone
};

// One thing that reconcile came across.
struct Finding {
  std::string zoneId;  // empty: not attributable
  std::string object;  // "cgroup /sys/fs/cgroup/rauha/zone_x", "process 123"
  std::string action;  // "removed", "adopted", "left: <reason>"
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const std::string& name() const noexcept = 0;
  // What this machine can arm; changes nothing.
  virtual std::vector<Layer> probe(const CallOptions& options) = 0;
  // exists: the zone is there already. After any other failure nothing of the zone is left.
  virtual ZoneHandle createZone(const CallOptions& options, const ZoneSpec& spec) = 0;
  // Makes as much of a zone as is known before its records are; createZone() of the same id finishes it. Throws unsupported when the
  // backend has no such thing.
  virtual void prepareZone(const CallOptions&, const ZoneSpec&) {
    throw Error("backend", Code::unsupported, name() + " prepares no zones");
  }
  // A new connection to a zone's shim; notFound when it is gone.
  virtual ZoneHandle connectZone(const CallOptions& options, std::string_view zoneId) = 0;
  // Limits of a living zone; unsupported, naming the record, for what cannot change.
  virtual void updateZone(const CallOptions& options, const ZoneSpec& spec) = 0;
  // Ends everything in the zone and removes every kernel object of it. Idempotent.
  virtual void destroyZone(const CallOptions& options, std::string_view zoneId) = 0;
  // Returns when the zone stands as wished; conflict, saying what differs, otherwise.
  virtual void checkZone(const CallOptions& options, std::string_view zoneId) = 0;
  // Once after start: these zones are kept, everything else of our instance goes.
  virtual std::vector<Finding> reconcile(const CallOptions& options, const std::vector<std::string>& zoneIds) = 0;
};

}  // namespace rauha::plugin
