// An enforcer that breaks the contract in the way that the zone's id says. Raw tables, as the wrapper would not let it.
#include <rauha/draft/enforcer.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace {

const rauha_host* host = nullptr;
std::string state;  // how capabilities lie: the configuration
int instance = 0;

rauha_str str(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(rauha_str s) { return s.ptr == nullptr ? std::string_view() : std::string_view(s.ptr, s.len); }

void count(const rauha_counters_sink* sink, uint32_t operation, uint32_t size = sizeof(rauha_enforcer_counters)) {
  rauha_enforcer_counters c{};
  c.struct_size = size;
  c.operation = operation;
  c.denied = ~uint64_t{0};
  sink->push(sink->context, &c);
}

rauha_status capabilities(rauha_instance*, rauha_call*, rauha_enforcer_capabilities* out) {
  out->state = state == "state" ? 7 : RAUHA_ENFORCER_LOADABLE;
  out->flags = state == "flags" ? 0x80 : RAUHA_ENFORCER_AUDIT_ONLY;
  if (state == "size") out->struct_size = 9999;
  if (state == "throw") throw std::runtime_error("boom");
  return RAUHA_OK;
}

rauha_status stats(rauha_instance*, rauha_call*, rauha_str zone, const rauha_counters_sink* sink) {
  const std::string_view how = view(zone);
  count(sink, 1);
  if (how == "twice") count(sink, 1);
  if (how == "unknown") count(sink, 4'000'000'000u);
  if (how == "size") count(sink, 2, 8);
  if (how == "many")
    for (uint32_t i = 2; i < 100; ++i) count(sink, i);
  if (how == "null") sink->push(sink->context, nullptr);
  if (how == "silent") return RAUHA_E_IO;
  return RAUHA_OK;
}

void emit(std::string_view name, std::string_view zone, std::string_view message) {
  rauha_attribute attribute{str("k\x1b[31m\n"), str("v\xc2\x9b\xff")};
  rauha_event event{};
  event.struct_size = sizeof event;
  event.severity = 99;
  event.name = str(name);
  event.zone_id = str(zone);
  event.message = str(message);
  event.attributes = {&attribute, 1, sizeof attribute};
  host->emit(host->context, &event);
}

rauha_status drain(rauha_instance*, rauha_call*) {
  emit("bad.clean", "zone_x",
       "red \x1b[31m\r\n\xc2\x9b"
       "2J end");
  emit("bad\x1b.name", "zone_x", "");
  emit("bad.zone", "zone_\n\x1b[2J", "");
  emit("bad.zone", "../../etc", "");
  emit("bad.zone", std::string(41, 'z'), "");
  return RAUHA_OK;
}

rauha_status verify(rauha_instance*, rauha_call*, rauha_str, const rauha_discrepancy_sink* sink) {
  rauha_discrepancy d{};
  d.struct_size = sizeof d;
  d.zone_id = str("zone_\x1b[31m");
  d.kind = str("kind\n");
  const std::string detail(5000, '\a');
  d.detail = str(detail);
  sink->push(sink->context, &d);
  return RAUHA_OK;
}

rauha_enforcer_v1 table{};

template <typename To, typename From>
To promise(From* function) {
  return reinterpret_cast<To>(function);
}

}  // namespace

RAUHA_PLUGIN_NOTE("enforcer", "bad-enforcer", "1.0");
extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {
  static const char* const provides[] = {RAUHA_ENFORCER_V1, nullptr};
  static const char* const services[] = {nullptr};
  table.struct_size = sizeof table;
  table.capabilities = promise<decltype(table.capabilities)>(capabilities);
  table.zone_register = [](rauha_instance*, rauha_call*, const rauha_enforcer_zone*) noexcept -> rauha_status { return RAUHA_OK; };
  table.policy_apply = [](rauha_instance*, rauha_call*, const rauha_enforcer_policy*) noexcept -> rauha_status { return RAUHA_OK; };
  table.task_label = [](rauha_instance*, rauha_call*, const rauha_enforcer_task*) noexcept -> rauha_status { return RAUHA_OK; };
  table.zone_remove = [](rauha_instance*, rauha_call*, rauha_str) noexcept -> rauha_status { return RAUHA_OK; };
  table.verify = promise<decltype(table.verify)>(verify);
  table.stats = promise<decltype(table.stats)>(stats);
  table.drain = promise<decltype(table.drain)>(drain);
  table.reconcile = [](rauha_instance*, rauha_call*, rauha_array, const rauha_discrepancy_sink*) noexcept -> rauha_status {
    return RAUHA_OK;
  };
  static rauha_plugin plugin{};
  plugin.struct_size = sizeof plugin;
  plugin.abi_minor = RAUHA_ABI_MINOR;
  plugin.name = "bad-enforcer";
  plugin.version = "1.0";
  plugin.license = "Apache-2.0";
  plugin.provides = provides;
  plugin.requires_services = services;
  plugin.create = [](const rauha_host* given, rauha_call*, rauha_str config, rauha_instance** out) noexcept -> rauha_status {
    host = given;
    state = view(config);
    *out = reinterpret_cast<rauha_instance*>(&instance);
    return RAUHA_OK;
  };
  plugin.destroy = [](rauha_instance*) noexcept {};
  plugin.get_interface = [](rauha_instance*, const char*) noexcept -> const void* { return &table; };
  return &plugin;
}
