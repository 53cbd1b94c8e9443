// A backend that breaks the contract in the way that the zone's name says, or its configuration (create = "…"). It makes no kernel objects,
// so that a daemon can be run with it. Raw tables and casts: the headers and the wrapper would not let it.
#include <rauha/backend.h>
#include <rauha/service_state.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace {

const rauha_host* host = nullptr;
int instance = 0;

rauha_str str(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(rauha_str s) { return s.ptr == nullptr ? std::string_view() : std::string_view(s.ptr, s.len); }

rauha_status fail(rauha_call* call, rauha_status status, const std::string& text) {
  host->set_error(call, status, str(text), str(""));
  return status;
}

[[noreturn]] void hang() {
  for (;;) pause();
}

int64_t now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

rauha_status flood(rauha_call* call) {
  for (int i = 0; i < 20'000; ++i) {
    const std::string zone = "zone_" + std::to_string(i);  // a zone of its own for each: no zone's limit helps
    rauha_event event{};
    event.struct_size = sizeof event;
    event.severity = 1;
    event.name = str("bad.flood");
    event.zone_id = str(zone);
    host->emit(host->context, &event);
    host->log(host->context, RAUHA_LOG_INFO, str("flood"));
  }
  return fail(call, RAUHA_E_LIMIT, "flooded");
}

// Too much, of another's zone, and at last garbage of its own: what each is answered with.
rauha_status corruptState(rauha_call* call, rauha_str zone) {
  const auto* state = static_cast<const rauha_state_v1*>(host->get_service(host->context, RAUHA_STATE_V1));
  const std::string big(70'000, 'x'), garbage("\0\xff\x01", 3);
  std::string text = "state:";
  for (const rauha_status s : {state->put(host->context, nullptr, zone, {big.data(), big.size()}),
                               state->put(host->context, nullptr, str("zone_of_nobody"), {"x", 1}),
                               state->put(host->context, nullptr, zone, {garbage.data(), garbage.size()})})
    text += " " + std::to_string(s);
  return fail(call, RAUHA_E_CORRUPT, text);
}

rauha_status zoneCreate(rauha_instance*, rauha_call* call, const rauha_zone_spec* spec, const rauha_layer_sink* sink,
                        rauha_zone_handle* out) {
  const std::string_view how = view(spec->hostname);
  if (how == "returns") {  // long after anybody waits, with an answer that nobody may believe
    const std::string file = std::string(view(host->environment->state_dir)) + "/plugins/bad-backend/return";
    while (access(file.c_str(), F_OK) != 0) usleep(10'000);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail(call, RAUHA_E_IO, "socket pair");
    close(pair[1]);
    out->agent_fd_take = pair[0];
    return RAUHA_OK;
  }
  if (how.substr(0, 4) == "hang") hang();
  if (how == "late") {
    while (now() < host->deadline_ns(call) + 700'000'000) usleep(10'000);
    return fail(call, RAUHA_E_DEADLINE, "I was late");
  }
  if (how == "throw") throw std::runtime_error("boom");
  if (how == "throw-int") throw 7;
  if (how == "flood") return flood(call);
  if (how == "silent") return RAUHA_E_IO;
  if (how == "unknown") return fail(call, 77, "odd");
  if (how == "corrupts") return corruptState(call, spec->zone_id);
  if (how == "size") {
    rauha_layer layer{};
    layer.struct_size = 1u << 30;
    sink->push(sink->context, &layer);
    return fail(call, RAUHA_E_BUSY, "but I failed anyway");
  }
  return fail(call, RAUHA_E_UNSUPPORTED, "makes no zones");
}

rauha_status create(const rauha_host* given, rauha_call*, rauha_str config, rauha_instance** out) {
  host = given;
  if (view(config).find("hang") != std::string_view::npos) hang();
  if (view(config).find("throw") != std::string_view::npos) throw std::runtime_error("boom");
  *out = reinterpret_cast<rauha_instance*>(&instance);
  return RAUHA_OK;
}

rauha_backend_v1 table{};

// A function that may throw under the type of one that may not.
template <typename To, typename From>
To promise(From* function) {
  return reinterpret_cast<To>(function);
}

}  // namespace

RAUHA_PLUGIN_NOTE("backend", "bad-backend", "1.0");
extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {
  static const char* const provides[] = {RAUHA_BACKEND_V1, nullptr};
  static const char* const services[] = {RAUHA_STATE_V1, nullptr};
  table.struct_size = sizeof table;
  table.probe = [](rauha_instance*, rauha_call*, const rauha_layer_sink*) noexcept -> rauha_status { return RAUHA_OK; };
  table.zone_create = promise<decltype(table.zone_create)>(zoneCreate);
  table.zone_connect = [](rauha_instance*, rauha_call* call, rauha_str, rauha_zone_handle*) noexcept -> rauha_status {
    return fail(call, RAUHA_E_NOT_FOUND, "has no shim");
  };
  table.zone_update = [](rauha_instance*, rauha_call*, const rauha_zone_spec*) noexcept -> rauha_status { return RAUHA_OK; };
  table.zone_destroy = [](rauha_instance*, rauha_call*, rauha_str) noexcept -> rauha_status { return RAUHA_OK; };
  table.zone_check = [](rauha_instance*, rauha_call*, rauha_str) noexcept -> rauha_status { return RAUHA_OK; };
  table.reconcile = [](rauha_instance*, rauha_call*, rauha_array, const rauha_finding_sink*) noexcept -> rauha_status { return RAUHA_OK; };
  static rauha_plugin plugin{};
  plugin.struct_size = sizeof plugin;
  plugin.abi_minor = RAUHA_ABI_MINOR;
  plugin.name = "bad-backend";
  plugin.version = "1.0";
  plugin.license = "Apache-2.0";
  plugin.provides = provides;
  plugin.requires_services = services;
  plugin.create = promise<decltype(plugin.create)>(create);
  plugin.destroy = [](rauha_instance*) noexcept {};
  plugin.get_interface = [](rauha_instance*, const char*) noexcept -> const void* { return &table; };
  return &plugin;
}
