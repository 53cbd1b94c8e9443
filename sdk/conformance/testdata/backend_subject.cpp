// A backend whose zones are directories: see subject.h. Needs no rights.
#include <fcntl.h>
#include <sys/socket.h>

#include "subject.h"

namespace {

using subject::of;
using subject::sdk::Error;
using subject::sdk::str;

struct Backend : subject::Base {
  static constexpr const char* kName = "backend-subject";
  std::string zone(const std::string& id) const { return dir("!zones") + "/" + id; }
  unsigned reconciles = 0;
};

void push(const rauha_layer_sink* sink) {
  const rauha_layer layer{sizeof layer, 0, RAUHA_LAYER_FULL, 0, str("nothing"), str("no boundary at all"), {nullptr, 0}, {nullptr, 0}};
  sink->push(sink->context, &layer);
}

const std::set<uint32_t> kLimits = {RAUHA_ZONE_CPU_MILLIS, RAUHA_ZONE_CPU_WEIGHT,  RAUHA_ZONE_MEMORY_BYTES, RAUHA_ZONE_PIDS,
                                    RAUHA_ZONE_IO_WEIGHT,  RAUHA_ZONE_IO_READ_BPS, RAUHA_ZONE_IO_WRITE_BPS};

rauha_status probe(rauha_instance* i, rauha_call* call, const rauha_layer_sink* sink) {
  return subject::guarded(of<Backend>(i), call, [&] { push(sink); });
}

// A socket that the subject answers nothing on.
rauha_zone_handle handleOf(Backend& b, uint32_t size) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | (b.is("answers") ? 0 : SOCK_CLOEXEC), 0, ends) != 0) throw Error(RAUHA_E_IO, "socketpair");
  ::close(ends[1]);
  return {size, 0, ends[0], 0, 100'000, 65'536, -1, 0};
}

rauha_status create(rauha_instance* i, rauha_call* raw, const rauha_zone_spec* in, const rauha_layer_sink* sink, rauha_zone_handle* out) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, raw, [&] {
    if (b.is("errors.untouched")) out->shim_pid = 7;
    const rauha_zone_spec spec = subject::taken(b, in);
    const std::string id = subject::idOf(b, spec.zone_id);
    if (spec.hostname.len > 64) throw Error(RAUHA_E_INVALID, "the hostname is too long");
    auto known = kLimits;
    for (uint32_t tag = 1; tag <= RAUHA_ZONE_REQUIRE; ++tag) known.insert(tag);
    subject::records(b, spec.records, known);
    subject::sdk::Call call(b.host, raw);
    subject::look(b, call, "cancel.before");
    call.progress("making", 0, 1);
    if (!subject::isId(id)) return;  // the deviation of specs.ids: pretends
    if (::mkdir(b.zone(id).c_str(), 0700) != 0) throw Error(RAUHA_E_EXISTS, "zone " + id + " is there");
    call.progress("making", 1, 1);
    try {
      subject::look(b, call, "cancel.middle");
      const rauha_zone_handle h = handleOf(b, out->struct_size);
      *out = h;
    } catch (...) {
      ::rmdir(b.zone(id).c_str());
      throw;
    }
    push(sink);
  });
}

void need(Backend& b, const std::string& id) {
  if (::access(b.zone(id).c_str(), F_OK) != 0) throw Error(RAUHA_E_NOT_FOUND, "there is no zone " + id);
}

rauha_status connect(rauha_instance* i, rauha_call* call, rauha_str raw, rauha_zone_handle* out) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, call, [&] {
    need(b, subject::idOf(b, raw));
    *out = handleOf(b, out->struct_size);
  });
}

rauha_status update(rauha_instance* i, rauha_call* call, const rauha_zone_spec* in) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, call, [&] {
    const rauha_zone_spec spec = subject::taken(b, in);
    const std::string id = subject::idOf(b, spec.zone_id);
    subject::records(b, spec.records, b.is("life") ? std::set<uint32_t>{RAUHA_ZONE_PIDS, RAUHA_ZONE_NO_SUID_BITS} : kLimits);
    need(b, id);
  });
}

rauha_status destroyZone(rauha_instance* i, rauha_call* call, rauha_str raw) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, call, [&] { ::rmdir(b.zone(subject::idOf(b, raw)).c_str()); });
}

rauha_status check(rauha_instance* i, rauha_call* call, rauha_str raw) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, call, [&] { need(b, subject::idOf(b, raw)); });
}

rauha_status reconcile(rauha_instance* i, rauha_call* call, rauha_array zones, const rauha_finding_sink* sink) {
  auto& b = of<Backend>(i);
  return subject::guarded(b, call, [&] {
    const auto found = [&](const std::string& id) {
      const rauha_zone_finding f{sizeof f, 0, str(id), str("directory"), str("removed")};
      sink->push(sink->context, &f);
    };
    if (b.is("idempotence.reconcile") && ++b.reconciles == 2) found("zone_ghost");
    for (const auto& entry : subject::fs::directory_iterator(b.dir("!zones"))) {
      const std::string id = entry.path().filename().string();
      if (subject::contains(zones, id)) continue;
      found(id);
      ::rmdir(entry.path().c_str());
    }
  });
}

using subject::shut;
const rauha_backend_v1 table = {sizeof(rauha_backend_v1), 0,           shut(probe),    shut(create), shut(connect), shut(update),
                                shut(destroyZone),        shut(check), shut(reconcile)};

}  // namespace

SUBJECT_PLUGIN(Backend, "backend", "backend-subject", RAUHA_BACKEND_V1, table);
