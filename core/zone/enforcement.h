#pragma once
// The enforcer's part in the life of zones: made known with their policy before anything runs, each task labelled while it is still
// blocked, asked for its counters at the end, told when a zone is gone. Does nothing when no enforcer is configured.
//
// Fails closed: who configures an enforcer wants it, so whatever it cannot do refuses the run. What it says of itself goes into the
// posture; only a denial that was tried and seen (ENFORCING, not audit only) is ever shown as enforcing. Thread: the event loop; the
// enforcer's blocking calls run on workers, one at a time per zone.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/coro.h"
#include "core/base/worker_pool.h"
#include "core/plugin/enforcer.h"
#include "core/zone/posture.h"

namespace rauha {

struct Zone;

// Counters of one zone at its end.
struct EnforcementReport {
  std::vector<plugin::EnforcerCounters> counters;
  std::string incomplete;  // why events or counters are missing; empty: complete
};

class Enforcement final {
 public:
  // enforcer: null when none is configured; outlives this.
  Enforcement(WorkerPool& workers, plugin::Enforcer* enforcer) : workers_(workers), enforcer_(enforcer) {}
  bool configured() const noexcept { return enforcer_ != nullptr; }
  void setCallTimeout(int64_t ns) noexcept { callNs_ = ns; }
  std::string name() const { return enforcer_ == nullptr ? "none" : enforcer_->name(); }

  // Asks what this machine can enforce now. Before a zone is built, and for `doctor`.
  Task<void> refresh();
  // As the posture and `doctor` show it; missing unless it enforces.
  plugin::Layer layer() const;
  void show(Posture& posture) const;

  // Makes the zone known with its group, and applies its policy.
  Task<void> arm(std::shared_ptr<Zone> zone);
  Task<void> applyPolicy(std::shared_ptr<Zone> zone);
  // pid: on the host, of a process of the zone that is blocked before its exec. Throws when it is not in the zone's group.
  Task<void> label(std::shared_ptr<Zone> zone, int pid);
  // Never throws: the run is over.
  Task<EnforcementReport> report(std::string zoneId);
  Task<void> remove(std::string zoneId);
  // These zones are kept. A failure is kept too: until the next start nothing is armed.
  Task<std::vector<plugin::Discrepancy>> reconcile(std::vector<std::string> zoneIds);

 private:
  plugin::CallOptions callOptions() const;
  WorkerPool& workers_;
  plugin::Enforcer* const enforcer_;
  plugin::EnforcerCapabilities capabilities_;
  int64_t callNs_ = 30'000'000'000;
  std::optional<Error> broken_;  // what reconcile failed with
};

}  // namespace rauha
