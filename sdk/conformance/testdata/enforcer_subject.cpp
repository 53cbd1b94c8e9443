// An enforcer that only remembers: see subject.h.
#include <rauha/draft/enforcer.h>

#include "subject.h"

namespace {

using subject::of;
using subject::sdk::Error;
using subject::sdk::str;

struct Enforcer : subject::Base {
  static constexpr const char* kName = "enforcer-subject";
  std::map<std::string, uint64_t> zones;  // to their control groups
};

std::string known(Enforcer& e, const std::string& id) {
  if (e.zones.count(id) == 0) throw Error(RAUHA_E_NOT_FOUND, "zone " + id + " is not registered");
  return id;
}

rauha_status capabilities(rauha_instance* i, rauha_call* call, rauha_enforcer_capabilities* out) {
  return subject::guarded(of<Enforcer>(i), call, [&] { *out = {out->struct_size, 0, RAUHA_ENFORCER_LISTED, 100, 0}; });
}
rauha_status zoneRegister(rauha_instance* i, rauha_call* raw, const rauha_enforcer_zone* in) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, raw, [&] {
    const auto zone = subject::taken(e, in);
    const std::string id = subject::idOf(e, zone.zone_id);
    subject::look(e, {e.host, raw}, "cancel.before");
    const std::lock_guard held(e.mutex);
    const auto [at, fresh] = e.zones.emplace(id, zone.cgroup_id);
    if (!fresh && at->second != zone.cgroup_id && !e.is("life")) throw Error(RAUHA_E_CONFLICT, "zone " + id + " has another group");
  });
}
rauha_status policyApply(rauha_instance* i, rauha_call* call, const rauha_enforcer_policy* in) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const auto policy = subject::taken(e, in);
    const std::string id = subject::idOf(e, policy.zone_id);
    std::set<uint32_t> tags;
    for (uint32_t tag = 1; tag <= RAUHA_ENFORCE_USER_NAMESPACES; ++tag) tags.insert(tag);
    subject::records(e, policy.records, tags);
    const std::lock_guard held(e.mutex);
    known(e, id);
  });
}
rauha_status taskLabel(rauha_instance* i, rauha_call* call, const rauha_enforcer_task* in) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const std::string id = subject::idOf(e, subject::taken(e, in).zone_id);
    const std::lock_guard held(e.mutex);
    known(e, id);
  });
}
rauha_status zoneRemove(rauha_instance* i, rauha_call* call, rauha_str raw) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const std::string id = subject::idOf(e, raw);
    const std::lock_guard held(e.mutex);
    e.zones.erase(id);
  });
}
rauha_status verify(rauha_instance* i, rauha_call* call, rauha_str raw, const rauha_discrepancy_sink* sink) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const std::string id(subject::sdk::view(raw));
    const std::lock_guard held(e.mutex);
    if (id.empty() || e.zones.count(id) != 0) return;
    const rauha_discrepancy d{sizeof d, 0, raw, str("zone_missing"), str("it is not registered")};
    sink->push(sink->context, &d);
  });
}
rauha_status stats(rauha_instance* i, rauha_call* call, rauha_str, const rauha_counters_sink* sink) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const rauha_enforcer_counters c{sizeof c, RAUHA_OPERATION_EXEC, 1, 0, 0, 0, 0};
    sink->push(sink->context, &c);
    if (e.is("answers")) sink->push(sink->context, &c);
  });
}
rauha_status drain(rauha_instance*, rauha_call*) { return RAUHA_OK; }
rauha_status reconcile(rauha_instance* i, rauha_call* call, rauha_array zones, const rauha_discrepancy_sink* sink) {
  auto& e = of<Enforcer>(i);
  return subject::guarded(e, call, [&] {
    const std::lock_guard held(e.mutex);
    for (auto it = e.zones.begin(); it != e.zones.end();) {
      if (subject::contains(zones, it->first)) {
        ++it;
        continue;
      }
      const rauha_discrepancy d{sizeof d, 0, str(it->first), str("removed"), str("no such zone")};
      sink->push(sink->context, &d);
      it = e.zones.erase(it);
    }
  });
}

using subject::shut;
const rauha_enforcer_v1 table = {sizeof(rauha_enforcer_v1),
                                 0,
                                 shut(capabilities),
                                 shut(zoneRegister),
                                 shut(policyApply),
                                 shut(taskLabel),
                                 shut(zoneRemove),
                                 shut(verify),
                                 shut(stats),
                                 shut(drain),
                                 shut(reconcile)};

}  // namespace

SUBJECT_PLUGIN(Enforcer, "enforcer", "enforcer-subject", RAUHA_ENFORCER_V1, table);
