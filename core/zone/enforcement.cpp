#include "core/zone/enforcement.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/policy/enforcer_records.h"
#include "core/zone/zone_service.h"

namespace rauha {
namespace {

std::string pathOf(int fd) {
  char path[4096];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  if (size <= 0 || static_cast<size_t>(size) == sizeof path) throwErrno("enforcer", "path of the zone's control group");
  return std::string(path, static_cast<size_t>(size));
}

// Is the process in this group of the v2 tree, or below it? The line of the v2 tree in /proc/PID/cgroup is "0::" and the path from the
// tree's root on, so the group's own name must be one of its components.
bool inGroup(int pid, const std::string& groupPath) {
  const std::string text = readFile("/proc/" + std::to_string(pid) + "/cgroup");
  const std::string component = groupPath.substr(groupPath.rfind('/')) + "/";
  size_t at = text.rfind("0::", 0) == 0 ? 0 : text.find("\n0::");
  if (at == std::string::npos) return false;
  if (at != 0) ++at;
  const std::string line = text.substr(at + 3, text.find('\n', at) - at - 3) + "/";
  return line.find(component) != std::string::npos;
}

plugin::EnforcerPolicy policyOf(const Zone& zone, bool audit) {
  plugin::EnforcerPolicy out;
  out.zoneId = zone.id;
  out.digest = zone.policy.digest();
  for (auto& record : policy::enforcerRecords(zone.policy.get(), audit))
    out.records.push_back({record.tag, record.number, std::move(record.text)});
  return out;
}

}  // namespace

plugin::CallOptions Enforcement::callOptions() const {
  plugin::CallOptions options;
  options.deadlineNs = monotonicNs() + callNs_;
  return options;
}

Task<void> Enforcement::refresh() {
  if (enforcer_ == nullptr) co_return;
  auto asking = workers_.run([this] { return enforcer_->capabilities(callOptions()); });
  capabilities_ = co_await kj::mv(asking);
}

plugin::Layer Enforcement::layer() const {
  if (enforcer_ == nullptr) return {"enforcer", plugin::LayerState::missing, "none", "no enforcer plugin is configured", kNoEnforcerRemedy};
  std::string detail = enforcer_->name() + ": " + std::string(plugin::enforcerStateName(capabilities_.state));
  if (capabilities_.auditOnly) detail += ", audit only";
  if (capabilities_.byCgroup) detail += ", by control group";
  if (capabilities_.enforces()) return {"enforcer", plugin::LayerState::full, detail, "", ""};
  return {"enforcer", plugin::LayerState::missing, detail,
          capabilities_.auditOnly ? "it counts, and lets pass what it would deny" : "no denial was tried and seen",
          "use an enforcer that enforces on this machine, or remove \"enforcer\" from the policy's require"};
}

void Enforcement::show(Posture& posture) const {
  const auto it = std::find_if(posture.layers.begin(), posture.layers.end(), [](const plugin::Layer& l) { return l.name == "enforcer"; });
  if (it != posture.layers.end()) *it = layer();
  posture.enforcer = enforcer_ == nullptr ? "none" : layer().detail;
}

Task<void> Enforcement::arm(std::shared_ptr<Zone> zone) {
  if (enforcer_ == nullptr) co_return;
  if (broken_) throw *broken_;
  std::string path;
  uint64_t id = 0;
  if (zone->cgroup) {
    path = pathOf(zone->cgroup.get());
    struct stat st {};
    if (fstat(zone->cgroup.get(), &st) != 0) throwErrno("enforcer", "stat " + path);
    id = st.st_ino;
  } else if (capabilities_.byCgroup) {
    throw Error("enforcer", Code::unsupported,
                enforcer_->name() + " works by control group, and backend " + zone->backend + " gives none for zone " + zone->id,
                "use an enforcer that labels tasks", zone->id);
  }
  zone->cgroupPath = path;
  auto registering =
      workers_.runSerial(zone->id, [this, zoneId = zone->id, path, id] { enforcer_->registerZone(callOptions(), zoneId, path, id); });
  co_await kj::mv(registering);
  co_await applyPolicy(zone);
}

Task<void> Enforcement::applyPolicy(std::shared_ptr<Zone> zone) {
  if (enforcer_ == nullptr) co_return;
  const auto policy = policyOf(*zone, capabilities_.auditOnly);
  auto applying = workers_.runSerial(zone->id, [this, policy] { enforcer_->applyPolicy(callOptions(), policy); });
  co_await kj::mv(applying);
}

Task<void> Enforcement::label(std::shared_ptr<Zone> zone, int pid) {
  if (enforcer_ == nullptr) co_return;
  // The pidfd comes first: what is then seen in the zone's group is the process that it stands for, since no number is used again while
  // its process is there, and one that left could not be in the group.
  auto pidfd = std::make_shared<UniqueFd>(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!*pidfd) throwErrno("enforcer", "pidfd of the task's process " + std::to_string(pid));
  if (zone->cgroupPath.empty() || !inGroup(pid, zone->cgroupPath))
    throw Error("enforcer", Code::conflict, "process " + std::to_string(pid) + " is not in the control group of zone " + zone->id,
                "run it again", zone->id);
  if (syscall(SYS_pidfd_send_signal, pidfd->get(), 0, nullptr, 0) != 0)
    throwErrno("enforcer", "the task's process " + std::to_string(pid) + " before its exec");
  auto labelling = workers_.runSerial(
      zone->id, [this, zoneId = zone->id, pidfd, pid] { enforcer_->labelTask(callOptions(), zoneId, pidfd->get(), pid); });
  co_await kj::mv(labelling);
}

Task<EnforcementReport> Enforcement::report(std::string zoneId) {
  EnforcementReport out;
  if (enforcer_ == nullptr) co_return out;
  try {
    auto draining = workers_.run([this] { enforcer_->drain(callOptions()); });
    co_await kj::mv(draining);
  } catch (...) {
    out.incomplete = currentError("enforcer").text();
  }
  try {
    auto asking = workers_.run([this, zoneId] { return enforcer_->stats(callOptions(), zoneId); });
    out.counters = co_await kj::mv(asking);
  } catch (...) {
    out.incomplete = currentError("enforcer").text();
  }
  co_return out;
}

Task<void> Enforcement::remove(std::string zoneId) {
  if (enforcer_ == nullptr) co_return;
  auto removing = workers_.runSerial(zoneId, [this, zoneId] { enforcer_->removeZone(callOptions(), zoneId); });
  co_await kj::mv(removing);
}

Task<std::vector<plugin::Discrepancy>> Enforcement::reconcile(std::vector<std::string> zoneIds) {
  std::vector<plugin::Discrepancy> found;
  if (enforcer_ == nullptr) co_return found;
  try {
    auto reconciling = workers_.run([this, zoneIds] { return enforcer_->reconcile(callOptions(), zoneIds); });
    found = co_await kj::mv(reconciling);
  } catch (...) {
    broken_ = currentError("enforcer");
    throw;
  }
  co_return found;
}

}  // namespace rauha
