#pragma once
// backend-linux: zones out of namespaces, control groups and filters ("rauha.backend/1").
//
// The class behind the plugin's tables. It builds what surrounds a zone (ids, groups, filter programs, runtime directory), starts the
// zone's shim, which makes the namespaces, and takes all of it down again. Every step of making has its undo; everything made can be found
// again from the zone's id alone. Threads: calls about one zone never overlap (the host sees to it), different zones may run at once.

#include <rauha/plugin.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/backend-linux/config.h"
#include "plugins/backend-linux/id_range.h"
#include "plugins/backend-linux/seccomp_profile.h"
#include "plugins/backend-linux/shim_process.h"
#include "plugins/backend-linux/zone_record.h"
#include "plugins/backend-linux/zone_spec.h"
#include "plugins/linux-common/cgroup_create.h"

namespace rauha::backend {

// What tests put in place of the machine.
struct Overrides {
  // Called after each step of createZone with its name ("directory", "shim", "ids", "groups", "memory", "seccomp", "boundary",
  // "limits", "record", "outcome"); may throw. A zone that is prepared has "boundary", "record" and "outcome" twice.
  std::function<void(std::string_view step)> afterStep;
  std::optional<cgroup::Hierarchies> hierarchies;
  std::optional<IdRangeConfig> ids;
};

class LinuxBackend final {
 public:
  LinuxBackend(sdk::Host host, std::string_view config) : LinuxBackend(host, config, Overrides{}) {}
  LinuxBackend(sdk::Host host, std::string_view config, Overrides overrides);
  LinuxBackend(const LinuxBackend&) = delete;
  LinuxBackend& operator=(const LinuxBackend&) = delete;
  ~LinuxBackend();

  void probe(sdk::Call& call, const rauha_layer_sink& sink);
  rauha_zone_handle createZone(sdk::Call& call, const rauha_zone_spec& raw, const rauha_layer_sink& sink);
  rauha_zone_handle connectZone(sdk::Call& call, std::string_view zoneId);
  void updateZone(sdk::Call& call, const rauha_zone_spec& raw);
  void destroyZone(sdk::Call& call, std::string_view zoneId);
  void checkZone(sdk::Call& call, std::string_view zoneId);
  void reconcile(sdk::Call& call, const std::vector<std::string_view>& zones, const rauha_finding_sink& sink);

 private:
  struct Building;
  void unmake(Building&) noexcept;
  void makeSurroundings(Building&);
  rauha_zone_handle prepareZone(sdk::Call&, std::unique_ptr<Building>);
  std::unique_ptr<Building> takePrepared(const ZoneSpec&);
  rauha_zone_handle finishZone(sdk::Call&, Building&, bool prepared, const rauha_layer_sink&);
  void makeDirectory(Building&);
  void takeIds(Building&);
  void makeGroups(Building&);
  void limitMemory(Building&);
  void compileFilters(Building&);
  void requireLayers(Building&);
  void startShimOf(Building&);
  void sendBoundaryOf(sdk::Call&, Building&);
  void setLimits(Building&);
  void record(Building&);
  void awaitBoundary(sdk::Call&, Building&) const;
  void addGroup(rauha_zone_handle& out, const std::string& zoneId) const;
  void step(std::string_view name) const;
  void destroy(const std::string& zoneId, int64_t deadlineNs);
  void endShimOf(const std::string& zoneId, const std::optional<ZoneRecord>& record, int64_t deadlineNs);
  std::string zonesDirectory() const { return runtimeDir_ + "/zones"; }
  std::string directoryOf(const std::string& zoneId) const { return zonesDirectory() + "/" + zoneId; }
  std::vector<std::string> zonesOnDisk() const;
  std::vector<std::string> strangers(const std::vector<std::string_view>& keep) const;

  const sdk::Host host_;
  const Overrides overrides_;
  const Config config_;
  const std::string instance_, stateDir_, runtimeDir_;
  ShimProgram shimProgram_;
  cgroup::GroupTree groups_;
  IdRanges ids_;
  SeccompCache filters_;
  const std::optional<std::string> ioDevice_;
  std::mutex mutex_;
  std::map<std::string, UniqueFd> shims_;                      // pidfds of the shims that this daemon started, by zone id
  std::map<std::string, std::unique_ptr<Building>> prepared_;  // by zone id
};

}  // namespace rauha::backend
