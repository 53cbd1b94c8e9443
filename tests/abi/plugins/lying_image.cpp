// An image plugin that breaks the contract in the way that the reference names. Raw tables: the wrapper would not let it.
#include <fcntl.h>
#include <unistd.h>
#include <rauha/plugin.hpp>

#include <string>

namespace {

using rauha::sdk::str;
using rauha::sdk::view;

const rauha_host* host = nullptr;
int released = 0;
int instance = 0;

rauha_image_info goodInfo() {
  rauha_image_info i{};
  i.struct_size = sizeof i;
  i.reference = str("x");
  i.source = str("oci");
  return i;
}
rauha_image_layer goodLayer() {
  rauha_image_layer l{};
  l.struct_size = sizeof l;
  l.directory_fd_borrow = -1;
  l.path = str("/layer");
  return l;
}
rauha_image_mount goodMount() {
  rauha_image_mount m{};
  m.struct_size = sizeof m;
  m.source = str("/usr");
  m.target = str("/usr");
  return m;
}

void pushLayer(std::string_view how, const rauha_image_sink* sink) {
  rauha_image_layer l = goodLayer();
  if (how == "layer_relative") l.path = str("etc");
  if (how == "layer_climbs") l.path = str("/store/../etc");
  if (how == "layer_nul") l.path = str(std::string_view("/a\0b", 4));
  if (how == "layer_both") l.directory_fd_borrow = 5;
  if (how == "layer_neither") l.path = {};
  if (how == "layer_mapping") l.id_mapping = 3;
  if (how == "layer_digest") l.digest = str("sha256:../../etc");
  if (how == "layer_size") l.struct_size = 20;
  if (how == "layer_null") return sink->layer(sink->context, nullptr);
  if (how == "layer_file") {
    l.path = {};
    l.directory_fd_borrow = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sink->layer(sink->context, &l);
    close(l.directory_fd_borrow);
    return;
  }
  for (int i = how == "layer_flood" ? 501 : 1; i > 0; --i) sink->layer(sink->context, &l);
}

void pushMount(std::string_view how, const rauha_image_sink* sink) {
  rauha_image_mount m = goodMount();
  static const std::string big(70'000, 'x');
  if (how == "mount_flags") m.flags = 8;
  if (how == "mount_kind") m.kind = 77;
  if (how == "mount_target") m.target = str("etc");
  if (how == "mount_source") m.source = str("../etc");
  if (how == "mount_file") m.kind = RAUHA_MOUNT_FILE, m.source = str(big);
  if (how == "mount_mode") m.kind = RAUHA_MOUNT_DIRECTORY, m.number = 010000;
  if (how == "mount_link") m.kind = RAUHA_MOUNT_SYMLINK, m.source = {};
  if (how == "mount_tail") {
    struct {
      rauha_image_mount known;
      uint64_t tail;
    } longer{m, 1};
    longer.known.struct_size = sizeof longer;
    return sink->mount(sink->context, &longer.known);
  }
  for (int i = how == "mount_flood" ? 1025 : 1; i > 0; --i) sink->mount(sink->context, &m);
}

rauha_status resolve(rauha_instance*, rauha_call* call, const rauha_image_request* request, const rauha_image_sink* sink) noexcept {
  const std::string_view how = view(request->reference);
  if (how == "none") return RAUHA_OK;
  if (how == "early") {
    const rauha_image_layer l = goodLayer();
    sink->layer(sink->context, &l);
  }
  if (how == "released") {
    const std::string text = "released " + std::to_string(released);
    host->set_error(call, RAUHA_E_CONFLICT, str(text), str(""));
    return RAUHA_E_CONFLICT;
  }
  static const std::string config((4 << 20) + 1, ' ');
  rauha_image_info info = goodInfo();
  if (how == "info_config") info.config_json = str(config);
  if (how == "info_reference") info.reference = str("\xff");
  if (how == "info_digest") info.digest = str("md5:1");
  for (int i = how == "two" ? 2 : 1; i > 0; --i) sink->info(sink->context, &info);
  if (how.substr(0, 5) == "layer") pushLayer(how, sink);
  if (how.substr(0, 5) == "mount") pushMount(how, sink);
  return RAUHA_OK;
}

// More text than a daemon should hold, each image within its limit.
rauha_status list(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink* sink) noexcept {
  static const std::string config(4 << 20, ' ');
  rauha_image_info info = goodInfo();
  info.config_json = str(config);
  for (int i = 0; i < 9; ++i) sink->info(sink->context, &info);
  return RAUHA_OK;
}

rauha_status resolve_export(rauha_instance* i, rauha_call* c, const rauha_image_request* r, int32_t target,
                            const rauha_image_sink* sink) noexcept {
  return target < 0 ? RAUHA_E_INVALID : resolve(i, c, r, sink);
}

rauha_status verify(rauha_instance*, rauha_call*, const rauha_image_request* request, const rauha_image_sink* sink) noexcept {
  const std::string_view how = view(request->reference);
  rauha_image_check check{};
  check.struct_size = sizeof check;
  check.state = RAUHA_CHECK_DAMAGED;
  check.kind = str("layer\n\x1b[31m");
  check.text = str("it is\nbroken");
  if (how == "check_state") check.state = 9;
  if (how == "check_flags") check.flags = 1;
  if (how == "check_digest") check.digest = str("sha256:../x");
  if (how == "check_size") check.struct_size = 40;
  if (how == "check_images") check.images = {nullptr, 3, sizeof(rauha_str)};
  if (how == "check_stride") check.images = {"x", 1, 1};
  if (how == "check_null") return sink->check(sink->context, nullptr), RAUHA_OK;
  for (int i = how == "check_flood" ? 100'001 : 1; i > 0; --i) sink->check(sink->context, &check);
  return RAUHA_OK;
}

const rauha_image_v1 table = {
    sizeof(rauha_image_v1),
    0,
    resolve,
    [](rauha_instance*, rauha_call*, rauha_str) noexcept -> rauha_status {
      ++released;
      return RAUHA_OK;
    },
    list,
    resolve,
    [](rauha_instance*, rauha_call*, const rauha_image_request*) noexcept -> rauha_status { return RAUHA_OK; },
    resolve,
    [](rauha_instance*, rauha_call*, rauha_array) noexcept -> rauha_status { return RAUHA_OK; },
    nullptr,
    resolve_export,
    verify,
};

}  // namespace

RAUHA_PLUGIN_NOTE("image", "lying-image", "1.0");
extern "C" RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) noexcept {
  static const char* const provides[] = {RAUHA_IMAGE_V1, nullptr};
  static const char* const services[] = {nullptr};
  static const rauha_plugin plugin = {sizeof(rauha_plugin),
                                      RAUHA_ABI_MINOR,
                                      "lying-image",
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
