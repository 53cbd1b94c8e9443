#pragma once
// An enforcer as core sees it: makes the kernel respect the zones that the backend built ("rauha.enforcer/1", a draft:
// sdk/include/rauha/draft/enforcer.h).
//
// An interface; the adapter over a plugin's table implements it, and so may a test. Owner: the Registry. Every call blocks: it belongs on
// a worker, calls about one zone under WorkerPool::runSerial(zone id). Errors: rauha::Error of class "enforcer" with the plugin's text.
// Who configured an enforcer wants it: a call that fails refuses the run.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/plugin/call.h"

namespace rauha::plugin {

// How far the machine was proved to be; each includes the ones before it.
enum class EnforcerState { listed, loadable, attached, enforcing };
std::string_view enforcerStateName(EnforcerState state) noexcept;

struct EnforcerCapabilities {
  EnforcerState state = EnforcerState::listed;
  bool byCgroup = false;   // identity is the control group, not the task
  bool auditOnly = false;  // denials are counted and let pass
  uint32_t maxZones = 0;
  uint64_t operations = 0;  // bit per RAUHA_OPERATION_*
  // Was a denial tried and seen, and do denials deny? Nothing less is ever shown as enforcing.
  bool enforces() const noexcept { return state == EnforcerState::enforcing && !auditOnly; }
};

// One statement of the policy's view for the enforcer. All are critical: what cannot be enforced is refused.
struct EnforcerRecord {
  uint32_t tag = 0;  // RAUHA_ENFORCE_*
  uint64_t number = 0;
  std::string text;
};

struct EnforcerPolicy {
  std::string zoneId, digest;
  std::vector<EnforcerRecord> records;
};

struct EnforcerCounters {
  uint32_t operation = 0;  // RAUHA_OPERATION_*
  uint64_t allowed = 0, denied = 0, wouldDeny = 0, errors = 0, lost = 0;
};
// "file_open"; unknown numbers are "operation_N".
std::string operationName(uint32_t operation);

struct Discrepancy {
  std::string zoneId, kind, detail;
};

class Enforcer {
 public:
  virtual ~Enforcer() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual EnforcerCapabilities capabilities(const CallOptions& options) = 0;
  // Idempotent with the same group. Until applyPolicy the zone denies everything.
  virtual void registerZone(const CallOptions& options, std::string_view zoneId, std::string_view cgroupPath, uint64_t cgroupId) = 0;
  virtual void applyPolicy(const CallOptions& options, const EnforcerPolicy& policy) = 0;
  // pidfd: borrowed, of a process that is blocked before its exec.
  virtual void labelTask(const CallOptions& options, std::string_view zoneId, int pidfd, int pid) = 0;
  virtual void removeZone(const CallOptions& options, std::string_view zoneId) = 0;  // idempotent
  virtual std::vector<Discrepancy> verify(const CallOptions& options, std::string_view zoneId) = 0;
  virtual std::vector<EnforcerCounters> stats(const CallOptions& options, std::string_view zoneId) = 0;
  // Every event of what happened before was emitted; limit: some were lost.
  virtual void drain(const CallOptions& options) = 0;
  // Once after start: these zones are kept, all others of our instance go and are told.
  virtual std::vector<Discrepancy> reconcile(const CallOptions& options, const std::vector<std::string>& zoneIds) = 0;
};

}  // namespace rauha::plugin
