/* One source, many plugins: the macros V_* say what is wrong with this one. Written in C against the tables, as a foreign author would. */
#include <rauha/backend.h>
#include <rauha/image.h>
#include <stdlib.h>

#ifdef V_IMAGE
#define V_KIND "image"
#define V_INTERFACE rauha_image_v1
#ifndef V_PROVIDES
#define V_PROVIDES RAUHA_IMAGE_V1
#endif
#else
#define V_INTERFACE rauha_backend_v1
#endif
#ifndef V_KIND
#define V_KIND "backend"
#endif
#ifndef V_NOTE_NAME
#define V_NOTE_NAME V_NAME
#endif
#ifndef V_MAJOR
#define V_MAJOR RAUHA_ABI_MAJOR
#endif
#ifndef V_MINOR
#define V_MINOR RAUHA_ABI_MINOR
#endif
#ifndef V_SIZE
#define V_SIZE sizeof(rauha_plugin)
#endif
#ifndef V_VERSION
#define V_VERSION "1.0"
#endif
#ifndef V_PROVIDES
#define V_PROVIDES RAUHA_BACKEND_V1
#endif
#ifndef V_TABLE_SIZE
#define V_TABLE_SIZE sizeof(V_INTERFACE)
#endif
#ifndef V_CREATE
#define V_CREATE create
#endif
#ifndef V_DESTROY
#define V_DESTROY destroy
#endif
#ifndef V_RESOLVE
#define V_RESOLVE resolve
#endif
#ifndef V_PROBE
#define V_PROBE probe
#endif
#ifndef V_TABLE
#define V_TABLE &table
#endif

__attribute__((section(".note.rauha"), used, aligned(4))) static const struct rauha_note note = {
    6, (uint32_t)(sizeof(struct rauha_note) - 20), RAUHA_NOTE_TYPE, "Rauha", V_MAJOR, V_MINOR, V_KIND, V_NOTE_NAME, "1.0"};

/* Tells the test that code of this file has run. */
__attribute__((constructor)) static void loaded(void) { setenv("RAUHA_TEST_PLUGIN_RAN", V_NAME, 1); }

static int instance;

__attribute__((unused)) static rauha_status create(const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) {
  (void)host, (void)call, (void)config;
  *out = (rauha_instance*)&instance;
  return RAUHA_OK;
}
__attribute__((unused)) static rauha_status create_silent_failure(const rauha_host* host, rauha_call* call, rauha_str config,
                                                                  rauha_instance** out) {
  (void)host, (void)call, (void)config, (void)out;
  return RAUHA_E_INTERNAL;
}
__attribute__((unused)) static rauha_status create_nothing(const rauha_host* host, rauha_call* call, rauha_str config,
                                                           rauha_instance** out) {
  (void)host, (void)call, (void)config, (void)out;
  return RAUHA_OK;
}
__attribute__((unused)) static rauha_status create_own_status(const rauha_host* host, rauha_call* call, rauha_str config,
                                                              rauha_instance** out) {
  static const char text[] = "the flux is low";
  const rauha_str said = {text, sizeof text - 1}, none = {NULL, 0};
  (void)config, (void)out;
  host->set_error(call, 1007, said, none);
  return 1007;
}
__attribute__((unused)) static void destroy(rauha_instance* i) { (void)i; }

#ifndef V_IMAGE
__attribute__((unused)) static rauha_status probe(rauha_instance* i, rauha_call* c, const rauha_layer_sink* s) {
  (void)i, (void)c, (void)s;
  return RAUHA_OK;
}
#endif
#ifdef V_IMAGE
__attribute__((unused)) static rauha_status resolve(rauha_instance* i, rauha_call* c, const rauha_image_request* r,
                                                    const rauha_image_sink* s) {
  (void)i, (void)c, (void)r, (void)s;
  return RAUHA_E_UNSUPPORTED;
}
static rauha_status release(rauha_instance* i, rauha_call* c, rauha_str l) {
  (void)i, (void)c, (void)l;
  return RAUHA_OK;
}
static rauha_status remove_image(rauha_instance* i, rauha_call* c, const rauha_image_request* r) {
  (void)i, (void)c, (void)r;
  return RAUHA_OK;
}
static rauha_status reconcile_leases(rauha_instance* i, rauha_call* c, rauha_array l) {
  (void)i, (void)c, (void)l;
  return RAUHA_OK;
}
__attribute__((unused)) static const rauha_image_v1 table = {V_TABLE_SIZE, 0,       V_RESOLVE,       release, resolve, resolve,
                                                             remove_image, resolve, reconcile_leases};
#else
static rauha_status zone_create(rauha_instance* i, rauha_call* c, const rauha_zone_spec* z, const rauha_layer_sink* s,
                                rauha_zone_handle* o) {
  (void)i, (void)c, (void)z, (void)s, (void)o;
  return RAUHA_E_UNSUPPORTED;
}
static rauha_status zone_connect(rauha_instance* i, rauha_call* c, rauha_str z, rauha_zone_handle* o) {
  (void)i, (void)c, (void)z, (void)o;
  return RAUHA_E_NOT_FOUND;
}
static rauha_status zone_update(rauha_instance* i, rauha_call* c, const rauha_zone_spec* z) {
  (void)i, (void)c, (void)z;
  return RAUHA_OK;
}
static rauha_status zone_named(rauha_instance* i, rauha_call* c, rauha_str z) {
  (void)i, (void)c, (void)z;
  return RAUHA_OK;
}
static rauha_status reconcile(rauha_instance* i, rauha_call* c, rauha_array z, const rauha_finding_sink* s) {
  (void)i, (void)c, (void)z, (void)s;
  return RAUHA_OK;
}

__attribute__((unused)) static const rauha_backend_v1 table = {V_TABLE_SIZE, 0,          V_PROBE,    zone_create, zone_connect,
                                                               zone_update,  zone_named, zone_named, reconcile};
#endif

static const void* get_interface(rauha_instance* i, const char* id) {
  (void)i, (void)id;
  return V_TABLE;
}

static const char* const provides[] = {V_PROVIDES, NULL};
static const char* const services[] = {
#ifdef V_SERVICE
    V_SERVICE,
#endif
    NULL};

static const rauha_plugin plugin = {V_SIZE,   RAUHA_ABI_MINOR, V_NAME,   V_VERSION, "Apache-2.0",
                                    provides, services,        V_CREATE, V_DESTROY, get_interface};

#ifdef V_ENTRY_NULL
const rauha_plugin* rauha_plugin_entry_v1(void) { return plugin.name != NULL ? NULL : &plugin; }
#elif defined(V_NO_ENTRY)
RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v9(void);
const rauha_plugin* rauha_plugin_entry_v9(void) { return &plugin; }
#else
const rauha_plugin* rauha_plugin_entry_v1(void) { return &plugin; }
#endif
