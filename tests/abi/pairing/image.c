/* An image plugin for the pairing of old and new; see backend.c. The reference says what is pushed. */
#include <rauha/image.h>
#include <string.h>

static const rauha_host* host;

static rauha_str str(const char* text) { return (rauha_str){text, strlen(text)}; }
static int is(rauha_str text, const char* what) { return text.len == strlen(what) && memcmp(text.ptr, what, text.len) == 0; }
static rauha_status fail(rauha_call* call, rauha_status status, const char* text) {
  const rauha_str none = {NULL, 0};
  host->set_error(call, status, str(text), none);
  return status;
}

static rauha_status take(rauha_call* call, const rauha_image_request* from, rauha_image_request* to) {
  memset(to, 0, sizeof *to);
  memcpy(to, from, from->struct_size < sizeof *to ? from->struct_size : sizeof *to);
  for (size_t i = sizeof *to; i < from->struct_size; ++i)
    if (((const unsigned char*)from)[i] != 0)
      return fail(call, RAUHA_E_UNSUPPORTED, "the caller uses bytes that this plugin does not know");
  if (to->flags != 0) return fail(call, RAUHA_E_UNSUPPORTED, "unknown flags");
  return RAUHA_OK;
}

static void push(const rauha_image_request* request, const rauha_image_sink* sink) {
  rauha_image_info info = {0};
  info.struct_size = sizeof info;
  info.reference = request->reference.len == 0 ? str("stored") : request->reference;
  info.source = str("pairing");
#ifdef RAUHA_ABI_NEXT
  info.size = request->next_field;
  info.next_field = 7; /* facts: an older host ignores it */
#endif
  sink->info(sink->context, &info);
  rauha_image_layer layer = {0};
  layer.struct_size = sizeof layer;
  layer.directory_fd_borrow = -1;
  layer.path = str("/layers/1");
  sink->layer(sink->context, &layer);
  rauha_image_mount mount = {0};
  mount.struct_size = sizeof mount;
  mount.kind = RAUHA_MOUNT_BIND;
  mount.source = mount.target = str("/usr");
#ifdef RAUHA_ABI_NEXT
  if (is(request->reference, "uses-next")) mount.next_field = 7; /* asks for something: an older host must refuse */
#endif
  sink->mount(sink->context, &mount);
}

static rauha_status one(rauha_instance* i, rauha_call* call, const rauha_image_request* given, const rauha_image_sink* sink) {
  (void)i, (void)is;
  rauha_image_request request;
  const rauha_status status = take(call, given, &request);
  if (status == RAUHA_OK) push(&request, sink);
  return status;
}
static rauha_status remove_one(rauha_instance* i, rauha_call* call, const rauha_image_request* given) {
  (void)i;
  rauha_image_request request;
  return take(call, given, &request);
}
static rauha_status release(rauha_instance* i, rauha_call* c, rauha_str lease) {
  (void)i, (void)c, (void)lease;
  return RAUHA_OK;
}
static rauha_status reconcile(rauha_instance* i, rauha_call* c, rauha_array leases) {
  (void)i, (void)c, (void)leases;
  return RAUHA_OK;
}

static rauha_image_v1 table;
static int instance;

static rauha_status create(const rauha_host* given, rauha_call* call, rauha_str config, rauha_instance** out) {
  (void)call, (void)config;
  host = given;
  table.struct_size = sizeof table;
  table.resolve = table.list = table.inspect = table.import_image = one;
  table.release = release;
  table.remove = remove_one;
  table.reconcile = reconcile;
  *out = (rauha_instance*)&instance;
  return RAUHA_OK;
}
static void destroy(rauha_instance* i) { (void)i; }
static const void* get_interface(rauha_instance* i, const char* id) {
  (void)i;
  return strcmp(id, RAUHA_IMAGE_V1) == 0 ? &table : NULL;
}

RAUHA_PLUGIN_NOTE("image", V_NAME, "1.0");
const rauha_plugin* rauha_plugin_entry_v1(void) {
  static const char* const provides[] = {RAUHA_IMAGE_V1, NULL};
  static const char* const services[] = {NULL};
  static rauha_plugin plugin;
  plugin.struct_size = sizeof plugin;
  plugin.abi_minor = RAUHA_ABI_MINOR;
  plugin.name = V_NAME;
  plugin.version = "1.0";
  plugin.license = "Apache-2.0";
  plugin.provides = provides;
  plugin.requires_services = services;
  plugin.create = create;
  plugin.destroy = destroy;
  plugin.get_interface = get_interface;
  return &plugin;
}
