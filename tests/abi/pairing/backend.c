/* A backend for the pairing of old and new: built once from the kept headers of 1.0, and once from headers in which every struct has grown
 * (make_next.py). It keeps the size rules by hand, as a C author would, and tells what it saw. */
#include <rauha/backend.h>
#include <rauha/service_events.h>
#include <rauha/service_state.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef RAUHA_ABI_NEXT
#define IS_NEXT 1
#else
#define IS_NEXT 0
#endif

#define RECORD_OF_NEXT 1000u /* a tag that only the next version knows */

static struct { const rauha_host* host; } self;

static rauha_str str(const char* text) { return (rauha_str){text, strlen(text)}; }
static rauha_status fail(rauha_call* call, rauha_status status, const char* text) {
  const rauha_str none = {NULL, 0};
  self.host->set_error(call, status, str(text), none);
  return status;
}

/* Size rules 3 and 4. */
static rauha_status take(rauha_call* call, const void* from, void* to, size_t known) {
  uint32_t given = 0;
  memcpy(&given, from, sizeof given);
  memset(to, 0, known);
  memcpy(to, from, given < known ? given : known);
  for (size_t i = known; i < given; ++i)
    if (((const unsigned char*)from)[i] != 0)
      return fail(call, RAUHA_E_UNSUPPORTED, "the caller uses bytes that this plugin does not know");
  return RAUHA_OK;
}

static rauha_status check_records(rauha_call* call, rauha_array records) {
  for (uint32_t i = 0; i < records.count; ++i) {
    rauha_record record;
    const rauha_status status = take(call, (const char*)records.ptr + (size_t)i * records.stride, &record, sizeof record);
    if (status != RAUHA_OK) return status;
    const int known = record.tag <= RAUHA_ZONE_REQUIRE || (IS_NEXT && record.tag == RECORD_OF_NEXT);
    if (!known && (record.flags & RAUHA_RECORD_CRITICAL) != 0) return fail(call, RAUHA_E_UNSUPPORTED, "unknown critical record");
  }
  return RAUHA_OK;
}

static void push(const rauha_layer_sink* sink, const char* name, const char* detail) {
  rauha_layer layer = {0};
  layer.struct_size = sizeof layer;
  layer.state = RAUHA_LAYER_FULL;
  layer.name = str(name);
  layer.detail = str(detail);
#ifdef RAUHA_ABI_NEXT
  layer.next_field = 7;
#endif
  sink->push(sink->context, &layer);
}

static rauha_status probe(rauha_instance* i, rauha_call* c, const rauha_layer_sink* sink) {
  (void)i, (void)c;
  push(sink, "seccomp", "probed");
  return RAUHA_OK;
}

static void emit(rauha_str zone) {
  rauha_attribute attributes[2] = {0};
  attributes[0].key = attributes[0].value = str("one");
  attributes[1].key = attributes[1].value = str("two");
  rauha_event event = {0};
  event.struct_size = sizeof event;
  event.severity = 1;
  event.name = str("pairing.created");
  event.zone_id = zone;
  event.attributes = (rauha_array){attributes, 2, sizeof attributes[0]};
#ifdef RAUHA_ABI_NEXT
  event.next_field = 7;
#endif
  const rauha_events_v1* events = self.host->get_service(self.host->context, RAUHA_EVENTS_V1);
  events->emit(self.host->context, &event);
}

static rauha_status zone_create(rauha_instance* i, rauha_call* call, const rauha_zone_spec* given, const rauha_layer_sink* sink,
                                rauha_zone_handle* out) {
  (void)i;
  rauha_zone_spec spec;
  rauha_status status = take(call, given, &spec, sizeof spec);
  if (status == RAUHA_OK && (spec.flags & ~(RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST)) != 0)
    status = fail(call, RAUHA_E_UNSUPPORTED, "unknown flags");
  if (status == RAUHA_OK) status = check_records(call, spec.records);
  if (status != RAUHA_OK) return status;
  const rauha_state_v1* state = self.host->get_service(self.host->context, RAUHA_STATE_V1);
  status = state->put(self.host->context, call, spec.zone_id, (rauha_bytes){"kept", 4});
  if (status != RAUHA_OK) return status;
  emit(spec.zone_id);

  char detail[96];
  unsigned long long next = 0;
#ifdef RAUHA_ABI_NEXT
  next = spec.next_field;
  /* What the service's table has beyond 1.0: asked for, never assumed. */
  if (RAUHA_HAS(state, next_function) && state->next_function != NULL) return fail(call, RAUHA_E_INTERNAL, "nobody has this function");
#endif
  snprintf(detail, sizeof detail, "%.*s next %llu", (int)spec.hostname.len, spec.hostname.ptr, next);
  push(sink, "user_namespace", detail);

  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail(call, RAUHA_E_IO, "no socket pair");
  close(ends[1]);
  rauha_zone_handle handle = {0};
  handle.struct_size = out->struct_size < sizeof handle ? out->struct_size : sizeof handle;
  handle.agent_fd_take = ends[0];
  handle.shim_pid = 4242;
  handle.host_id_base = 1000000;
  handle.host_id_count = 65536;
#ifdef RAUHA_ABI_NEXT
  handle.next_field = 7;
#endif
  memcpy(out, &handle, handle.struct_size);
  return RAUHA_OK;
}

static rauha_status zone_connect(rauha_instance* i, rauha_call* c, rauha_str z, rauha_zone_handle* o) {
  (void)i, (void)z, (void)o;
  return fail(c, RAUHA_E_NOT_FOUND, "no such zone");
}
static rauha_status zone_update(rauha_instance* i, rauha_call* c, const rauha_zone_spec* given) {
  (void)i;
  rauha_zone_spec spec;
  return take(c, given, &spec, sizeof spec);
}
static rauha_status zone_named(rauha_instance* i, rauha_call* c, rauha_str z) {
  (void)i, (void)c, (void)z;
  return RAUHA_OK;
}
static rauha_status reconcile(rauha_instance* i, rauha_call* c, rauha_array zones, const rauha_finding_sink* sink) {
  (void)i, (void)c;
  for (uint32_t n = 0; n < zones.count; ++n) {
    rauha_zone_finding finding = {0};
    finding.struct_size = sizeof finding;
    memcpy(&finding.zone_id, (const char*)zones.ptr + (size_t)n * zones.stride, sizeof finding.zone_id);
    finding.object = str("process 1");
    finding.action = str("adopted");
#ifdef RAUHA_ABI_NEXT
    finding.next_field = 7;
#endif
    sink->push(sink->context, &finding);
  }
  return RAUHA_OK;
}

#ifdef RAUHA_ABI_NEXT
static rauha_status next_function(void* context) {
  (void)context;
  return 1234;
}
#endif

static const rauha_backend_v1 table = {sizeof table,
                                       0,
                                       probe,
                                       zone_create,
                                       zone_connect,
                                       zone_update,
                                       zone_named,
                                       zone_named,
                                       reconcile
#ifdef RAUHA_ABI_NEXT
                                       ,
                                       next_function
#endif
};

static rauha_status create(const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) {
  (void)call, (void)config;
  self.host = host;
  *out = (rauha_instance*)&self;
  return RAUHA_OK;
}
static void destroy(rauha_instance* i) { (void)i; }
static const void* get_interface(rauha_instance* i, const char* id) {
  (void)i;
  return strcmp(id, RAUHA_BACKEND_V1) == 0 ? &table : NULL;
}

RAUHA_PLUGIN_NOTE("backend", V_NAME, "1.0");
const rauha_plugin* rauha_plugin_entry_v1(void) {
  static const char* const provides[] = {RAUHA_BACKEND_V1, NULL};
  static const char* const services[] = {RAUHA_STATE_V1, RAUHA_EVENTS_V1, NULL};
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
