// A backend that breaks the contract in the way that the zone's id names. Raw tables: the wrapper would not let it.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <string>

namespace {

using rauha::sdk::str;
using rauha::sdk::view;

const rauha_host* host = nullptr;
int destroyed = 0;
int instance = 0;

int goodSocket() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1;  // without close-on-exec: the host must set it
  close(ends[1]);
  return ends[0];
}

rauha_layer layer(std::string_view name) { return {sizeof(rauha_layer), 0, RAUHA_LAYER_FULL, 0, str(name), str("d"), {}, {}}; }

struct GrownLayer {
  rauha_layer known;
  uint64_t more;
};

void pushBadly(std::string_view how, const rauha_layer_sink* sink) {
  rauha_layer l = layer("seccomp");
  if (how == "zone_layer_null") return sink->push(sink->context, nullptr);
  if (how == "zone_layer_small") l.struct_size = 8;
  if (how == "zone_layer_huge") l.struct_size = 1u << 30;
  if (how == "zone_layer_flags") l.flags = 2;
  if (how == "zone_layer_state") l.state = 9;
  if (how == "zone_layer_name") l.name = str("Sec comp");
  if (how == "zone_layer_null_name") l.name = {nullptr, 5};
  if (how == "zone_layer_tail") {
    GrownLayer grown{l, 1};
    grown.known.struct_size = sizeof grown;
    return sink->push(sink->context, &grown.known);
  }
  const int times = how == "zone_layer_flood" ? 65 : 1;
  for (int i = 0; i < times; ++i) sink->push(sink->context, &l);
}

rauha_status zoneCreate(rauha_instance*, rauha_call* call, const rauha_zone_spec* spec, const rauha_layer_sink* sink,
                        rauha_zone_handle* out) noexcept {
  const std::string_view how = view(spec->zone_id);
  const uint32_t room = out->struct_size;
  *out = {room, 0, -1, 100, 0x70000000, 65536};
  if (how == "zone_silent") return RAUHA_E_INTERNAL;
  if (how == "zone_status" || how == "zone_negative") {
    host->set_error(call, 1, str("own trouble"), str(""));
    return how == "zone_status" ? 4711 : -1;
  }
  if (how == "zone_nofd") return RAUHA_OK;
  if (how == "zone_closedfd") return out->agent_fd_take = 900, RAUHA_OK;
  if (how == "zone_stdio") return out->agent_fd_take = 1, RAUHA_OK;
  if (how == "zone_filefd") return out->agent_fd_take = open("/dev/null", O_RDONLY | O_CLOEXEC), RAUHA_OK;
  if (how == "zone_dgram") {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0) close(ends[1]), out->agent_fd_take = ends[0];
    return RAUHA_OK;
  }
  out->agent_fd_take = goodSocket();
  if (how == "zone_size") out->struct_size = 4000;
  if (how == "zone_flags") out->flags = 4;
  if (how == "zone_cgroup") out->flags = RAUHA_ZONE_HANDLE_CGROUP, out->cgroup_fd_take = 900;
  if (how == "zone_pid") out->shim_pid = -7;
  if (how == "zone_init") out->shim_pid = 1;
  if (how == "zone_ids") out->host_id_base = UINT32_MAX - 5;
  if (how == "zone_root") out->host_id_base = 0;
  if (how.substr(0, 10) == "zone_layer") pushBadly(how, sink);
  return RAUHA_OK;
}

rauha_status zoneDestroy(rauha_instance*, rauha_call*, rauha_str) noexcept {
  ++destroyed;
  return RAUHA_OK;
}
// Tells the test how often zone_destroy was called.
rauha_status zoneCheck(rauha_instance*, rauha_call* call, rauha_str) noexcept {
  const std::string text = "destroyed " + std::to_string(destroyed);
  host->set_error(call, RAUHA_E_CONFLICT, str(text), str(""));
  return RAUHA_E_CONFLICT;
}

const rauha_backend_v1 table = {
    sizeof(rauha_backend_v1),
    0,
    [](rauha_instance*, rauha_call*, const rauha_layer_sink*) noexcept -> rauha_status { return RAUHA_OK; },
    zoneCreate,
    [](rauha_instance*, rauha_call*, rauha_str, rauha_zone_handle*) noexcept -> rauha_status { return RAUHA_OK; },
    [](rauha_instance*, rauha_call*, const rauha_zone_spec*) noexcept -> rauha_status { return RAUHA_OK; },
    zoneDestroy,
    zoneCheck,
    [](rauha_instance*, rauha_call*, rauha_array, const rauha_finding_sink* sink) noexcept -> rauha_status {
      rauha_zone_finding f{sizeof f, 1, {}, str("x"), str("y")};
      sink->push(sink->context, &f);
      return RAUHA_OK;
    },
};

}  // namespace

RAUHA_PLUGIN_NOTE("backend", "lying-backend", "1.0");
extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {
  static const char* const provides[] = {RAUHA_BACKEND_V1, nullptr};
  static const char* const services[] = {nullptr};
  static const rauha_plugin plugin = {sizeof(rauha_plugin),
                                      RAUHA_ABI_MINOR,
                                      "lying-backend",
                                      "1.0",
                                      "Apache-2.0",
                                      provides,
                                      services,
                                      [](const rauha_host* h, rauha_call*, rauha_str, rauha_instance** out) noexcept -> rauha_status {
                                        host = h;
                                        *out = reinterpret_cast<rauha_instance*>(&instance);
                                        return RAUHA_OK;
                                      },
                                      [](rauha_instance*) noexcept {},
                                      [](rauha_instance*, const char*) noexcept -> const void* { return &table; }};
  return &plugin;
}
