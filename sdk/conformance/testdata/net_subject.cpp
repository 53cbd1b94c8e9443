// A network plugin that only remembers: see subject.h.
#include <rauha/draft/net.h>

#include "subject.h"

namespace {

using subject::of;
using subject::sdk::Error;
using subject::sdk::str;

struct Net : subject::Base {
  static constexpr const char* kName = "net-subject";
  std::set<std::string> zones;
};

std::string read(Net& n, const rauha_net_spec* in) {
  const rauha_net_spec spec = subject::taken(n, in);
  std::set<uint32_t> tags;
  for (uint32_t tag = 1; tag <= RAUHA_NET_RATE_BPS; ++tag) tags.insert(tag);
  subject::records(n, spec.records, tags);
  return subject::idOf(n, spec.zone_id);
}
void need(Net& n, const std::string& id) {
  if (n.zones.count(id) == 0) throw Error(RAUHA_E_NOT_FOUND, "zone " + id + " is not attached");
}

rauha_status probe(rauha_instance* i, rauha_call* call, const rauha_layer_sink* sink) {
  return subject::guarded(of<Net>(i), call, [&] {
    const rauha_layer layer{sizeof layer, 0, RAUHA_LAYER_MISSING, 0, str("network"), {nullptr, 0}, str("nothing is done"), {nullptr, 0}};
    sink->push(sink->context, &layer);
  });
}
rauha_status attach(rauha_instance* i, rauha_call* raw, const rauha_net_spec* in, const rauha_net_sink* sink) {
  auto& n = of<Net>(i);
  return subject::guarded(n, raw, [&] {
    const std::string id = read(n, in);
    subject::look(n, {n.host, raw}, "cancel.before");
    {
      const std::lock_guard held(n.mutex);
      if (!n.zones.insert(id).second && !n.is("life")) throw Error(RAUHA_E_EXISTS, "zone " + id + " is attached");
    }
    const rauha_net_result result{sizeof result,
                                  0,
                                  n.is("answers") ? str("") : str("eth0"),
                                  {nullptr, 0},
                                  {nullptr, 0, sizeof(rauha_str)},
                                  {nullptr, 0, sizeof(rauha_str)},
                                  str("state")};
    sink->result(sink->context, &result);
  });
}
rauha_status update(rauha_instance* i, rauha_call* call, const rauha_net_spec* in) {
  auto& n = of<Net>(i);
  return subject::guarded(n, call, [&] {
    const std::string id = read(n, in);
    const std::lock_guard held(n.mutex);
    need(n, id);
  });
}
rauha_status detach(rauha_instance* i, rauha_call* call, const rauha_net_spec* in) {
  auto& n = of<Net>(i);
  return subject::guarded(n, call, [&] {
    const std::string id = read(n, in);
    const std::lock_guard held(n.mutex);
    n.zones.erase(id);
  });
}
rauha_status check(rauha_instance* i, rauha_call* call, const rauha_net_spec* in, const rauha_net_finding_sink*) {
  return update(i, call, in);
}
rauha_status reconcile(rauha_instance* i, rauha_call* call, rauha_array zones, const rauha_net_finding_sink* sink) {
  auto& n = of<Net>(i);
  return subject::guarded(n, call, [&] {
    const std::lock_guard held(n.mutex);
    for (auto it = n.zones.begin(); it != n.zones.end();) {
      if (subject::contains(zones, *it)) {
        ++it;
        continue;
      }
      const rauha_net_finding f{sizeof f, 0, str(*it), str("attachment"), str("removed")};
      sink->push(sink->context, &f);
      it = n.zones.erase(it);
    }
  });
}

using subject::shut;
const rauha_net_v1 table = {sizeof(rauha_net_v1), 0, shut(probe), shut(attach), shut(update), shut(detach), shut(check), shut(reconcile)};

}  // namespace

SUBJECT_PLUGIN(Net, "net", "net-subject", RAUHA_NET_V1, table);
