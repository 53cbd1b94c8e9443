// An image plugin that breaks the contract in the way that the reference says. In C's way, with raw tables and casts: the wrapper would not
// let it. It is answered with the same words in the daemon and in a process of its own.
#include <rauha/image.h>
#include <rauha/service_spawn.h>
#include <rauha/service_state.h>
#include <rauha/service_timer.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

const rauha_host* host = nullptr;
int instance = 0;
std::atomic<int> fired{0};

rauha_str str(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(rauha_str s) { return s.ptr == nullptr ? std::string_view() : std::string_view(s.ptr, s.len); }

rauha_status fail(rauha_call* call, rauha_status status, const std::string& text) {
  host->set_error(call, status, str(text), str(""));
  return status;
}

void info(const rauha_image_sink* sink, std::string_view reference, uint32_t size = sizeof(rauha_image_info)) {
  rauha_image_info out{};
  out.struct_size = size;
  out.reference = str(reference);
  sink->info(sink->context, &out);
}

void layer(const rauha_image_sink* sink, uint32_t size, uint32_t flags, std::string_view path) {
  rauha_image_layer out{};
  out.struct_size = size;
  out.flags = flags;
  out.directory_fd_borrow = -1;
  out.path = str(path);
  sink->layer(sink->context, &out);
}

// What a host in this place offers, and that it works.
rauha_status services(rauha_call* call) {
  std::string text = "services:";
  for (const char* id : {"rauha.state/1", "rauha.events/1", "rauha.timer/1", "rauha.watch/1", "rauha.spawn/1"})
    if (host->get_service(host->context, id) != nullptr) text += std::string(" ") + id;
  const auto* timers = static_cast<const rauha_timer_v1*>(host->get_service(host->context, RAUHA_TIMER_V1));
  rauha_timer_request request{};
  request.struct_size = sizeof request;
  request.fire = [](void*, uint64_t, uint64_t) noexcept { ++fired; };
  uint64_t timer = 0;
  if (timers->start(host->context, call, &request, &timer) != RAUHA_OK) text += ", no timer";
  while (fired == 0) usleep(1000);
  timers->cancel(host->context, timer);
  return fail(call, RAUHA_E_BUSY, text + ", and a timer fired");
}

rauha_status resolve(rauha_instance*, rauha_call* call, const rauha_image_request* request, const rauha_image_sink* sink) {
  std::string_view how = view(request->reference);
  if (how.substr(0, 4) == "bad:") how.remove_prefix(4);
  if (how == "throw") throw std::runtime_error("boom");
  if (how == "throw-int") throw 7;
  if (how == "silent") return RAUHA_E_IO;
  if (how == "unknown") return fail(call, 77, "odd");
  if (how == "own") return fail(call, 1007, "the flux is low");
  if (how == "controls") return fail(call, RAUHA_E_INVALID, "red \x1b[31m\r\nline two \xff");
  if (how == "services") return services(call);
  if (how == "size") {
    info(sink, how, 1u << 30);
    return fail(call, RAUHA_E_BUSY, "but I failed anyway");
  }
  if (how == "nothing") return RAUHA_OK;
  if (how == "layer-first") layer(sink, sizeof(rauha_image_layer), 0, "/usr");
  info(sink, how);
  if (how == "twice") info(sink, how);
  if (how == "layer-size") layer(sink, 4, 0, "/usr");
  if (how == "layer-flags") layer(sink, sizeof(rauha_image_layer), 0x80, "/usr");
  if (how == "layer-relative") layer(sink, sizeof(rauha_image_layer), 0, "usr");
  if (how == "layer-climbs") layer(sink, sizeof(rauha_image_layer), 0, "/usr/../etc");
  return RAUHA_OK;
}

rauha_status create(const rauha_host* given, rauha_call*, rauha_str, rauha_instance** out) noexcept {
  host = given;
  *out = reinterpret_cast<rauha_instance*>(&instance);
  return RAUHA_OK;
}

rauha_image_v1 table{};

// A function that may throw under the type of one that may not.
template <typename To, typename From>
To promise(From* function) {
  return reinterpret_cast<To>(function);
}

}  // namespace

RAUHA_PLUGIN_NOTE("image", "bad-image", "1.0");
extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {
  static const char* const provides[] = {RAUHA_IMAGE_V1, nullptr};
  static const char* const services[] = {nullptr};
  table.struct_size = sizeof table;
  table.resolve = table.inspect = table.import_image = promise<decltype(table.resolve)>(resolve);
  table.release = [](rauha_instance*, rauha_call*, rauha_str) noexcept -> rauha_status { return RAUHA_OK; };
  table.list = [](rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) noexcept -> rauha_status {
    return RAUHA_OK;
  };
  table.remove = [](rauha_instance*, rauha_call*, const rauha_image_request*) noexcept -> rauha_status { return RAUHA_OK; };
  table.reconcile = [](rauha_instance*, rauha_call*, rauha_array) noexcept -> rauha_status { return RAUHA_OK; };
  static rauha_plugin plugin{};
  plugin.struct_size = sizeof plugin;
  plugin.abi_minor = RAUHA_ABI_MINOR;
  plugin.name = "bad-image";
  plugin.version = "1.0";
  plugin.license = "Apache-2.0";
  plugin.provides = provides;
  plugin.requires_services = services;
  plugin.create = create;
  plugin.destroy = [](rauha_instance*) noexcept {};
  plugin.get_interface = [](rauha_instance*, const char*) noexcept -> const void* { return &table; };
  return &plugin;
}
