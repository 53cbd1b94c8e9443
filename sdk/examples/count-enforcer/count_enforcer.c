/* count-enforcer: an enforcer ("rauha.enforcer/1") in plain C that enforces nothing and says so. It counts the zones, policies and tasks
 * that it is told of, keeps the numbers with the zone (rauha.state/1), and writes an event for each task (rauha.events/1). As a plugin it
 * is whole: size rules, error texts, idempotence, restart. What an enforcer does to a kernel is what is missing.
 *
 * Threads: calls about different zones run at once ([zone], [worker]), so everything behind the instance has one lock. There is nothing
 * global that changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rauha/draft/enforcer.h>
#include <rauha/service_events.h>
#include <rauha/service_state.h>
#include <rauha/size_rules.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONES_MAX 4096u
#define ID_MAX 40u

struct zone {
  char id[ID_MAX + 1];
  uint64_t cgroup_id;
  uint64_t policies; /* applied so far */
  uint64_t tasks;    /* labelled so far */
};

struct instance {
  const rauha_host* host;
  const rauha_state_v1* state;
  const rauha_events_v1* events;
  uint32_t max_zones;
  pthread_mutex_t lock; /* of everything below */
  struct zone* zones;
  uint32_t count;
  uint64_t dropped_before; /* events, at the last drain */
};

static struct instance* of(rauha_instance* instance) { return (struct instance*)instance; }
static rauha_str str(const char* text) { return (rauha_str){text, strlen(text)}; }
static const rauha_str none = {NULL, 0};

/* The status, with its text: what failed, on which object, why; then the remedy. */
__attribute__((format(printf, 5, 6))) static rauha_status fail(const rauha_host* host, rauha_call* call, rauha_status status,
                                                               const char* hint, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  host->set_error(call, status, str(text), hint == NULL ? none : str(hint));
  return status;
}

/* --- what the host gives us --- */

static rauha_status take(const struct instance* self, rauha_call* call, const void* from, void* to, size_t size, const char* what) {
  switch (rauha_take(to, size, from)) {
    case RAUHA_TAKE_OK:
      return RAUHA_OK;
    case RAUHA_TAKE_SMALL:
      return fail(self->host, call, RAUHA_E_INVALID, NULL, "%s: no struct, or its struct_size is too small", what);
    default: /* a restriction that is not understood must fail */
      return fail(self->host, call, RAUHA_E_UNSUPPORTED, "use a plugin as new as the daemon",
                  "%s: more is set than the %zu bytes that are known", what, size);
  }
}

static rauha_status take_flags(const struct instance* self, rauha_call* call, uint32_t flags, const char* what) {
  return flags == 0 ? RAUHA_OK : fail(self->host, call, RAUHA_E_UNSUPPORTED, NULL, "%s: unknown flags %u", what, flags);
}

/* A zone's id as a C string: a text of the host's has no end of its own. */
static rauha_status take_id(const struct instance* self, rauha_call* call, rauha_str text, char id[ID_MAX + 1]) {
  if (text.len > 0 && text.len <= ID_MAX) {
    memcpy(id, text.ptr, text.len);
    id[text.len] = 0;
    if (strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == text.len) return RAUHA_OK;
  }
  return fail(self->host, call, RAUHA_E_INVALID, NULL, "a zone's id has 1 to %u of a-z, 0-9 and _; this one of %zu bytes has not", ID_MAX,
              text.len);
}

/* --- zones; all under the lock --- */

static struct zone* find(struct instance* self, const char* id) {
  for (uint32_t i = 0; i < self->count; ++i)
    if (strcmp(self->zones[i].id, id) == 0) return &self->zones[i];
  return NULL;
}

static rauha_status add(struct instance* self, rauha_call* call, const struct zone* zone) {
  if (self->count == self->max_zones)
    return fail(self->host, call, RAUHA_E_LIMIT, "raise max_zones", "zone %s: %u zones are counted already", zone->id, self->count);
  self->zones[self->count++] = *zone; /* the room for max_zones was made in create */
  return RAUHA_OK;
}

static void drop(struct instance* self, struct zone* zone) { *zone = self->zones[--self->count]; }

/* --- what outlives us: one line per zone, kept by the host. It is a help and no truth: damaged or missing means counting from zero. --- */

static void save(const struct instance* self, rauha_call* call, const struct zone* zone) {
  char text[96];
  const int size = snprintf(text, sizeof text, "1 %llu %llu %llu", (unsigned long long)zone->cgroup_id, (unsigned long long)zone->policies,
                            (unsigned long long)zone->tasks);
  if (self->state->put(self->host->context, call, str(zone->id), (rauha_bytes){text, (uint64_t)size}) != RAUHA_OK)
    self->host->log(self->host->context, RAUHA_LOG_WARNING, str("the counters of a zone could not be kept"));
}

static void restore_from(void* context, rauha_bytes bytes) {
  struct zone* zone = context;
  char text[96] = {0};
  unsigned long long cgroup_id = 0, policies = 0, tasks = 0;
  if (bytes.len == 0 || bytes.len >= sizeof text) return;
  memcpy(text, bytes.ptr, bytes.len);
  if (sscanf(text, "1 %llu %llu %llu", &cgroup_id, &policies, &tasks) != 3) return;
  zone->cgroup_id = cgroup_id;
  zone->policies = policies;
  zone->tasks = tasks;
}

static void restore(const struct instance* self, rauha_call* call, struct zone* zone) {
  const rauha_bytes_sink sink = {sizeof sink, 0, zone, restore_from};
  self->state->get(self->host->context, call, str(zone->id), &sink); /* NOT_FOUND: nothing was kept */
}

/* --- the interface --- */

static rauha_status capabilities(rauha_instance* instance, rauha_call* call, rauha_enforcer_capabilities* out) {
  const struct instance* self = of(instance);
  (void)call;
  rauha_enforcer_capabilities mine = {sizeof mine, RAUHA_ENFORCER_AUDIT_ONLY, RAUHA_ENFORCER_LOADABLE, self->max_zones, 0};
  const uint32_t room = out->struct_size;
  if (mine.struct_size > room) mine.struct_size = room;
  memcpy(out, &mine, mine.struct_size);
  return RAUHA_OK;
}

static rauha_status zone_register(rauha_instance* instance, rauha_call* call, const rauha_enforcer_zone* given) {
  struct instance* self = of(instance);
  rauha_enforcer_zone zone;
  struct zone fresh = {0};
  rauha_status status = take(self, call, given, &zone, sizeof zone, "zone");
  if (status == RAUHA_OK) status = take_flags(self, call, zone.flags, "zone");
  if (status == RAUHA_OK) status = take_id(self, call, zone.zone_id, fresh.id);
  if (status != RAUHA_OK) return status;
  fresh.cgroup_id = zone.cgroup_id;

  pthread_mutex_lock(&self->lock);
  const struct zone* there = find(self, fresh.id);
  if (there == NULL) {
    status = add(self, call, &fresh);
    if (status == RAUHA_OK) save(self, call, &fresh);
  } else if (there->cgroup_id != fresh.cgroup_id) {
    status = fail(self->host, call, RAUHA_E_CONFLICT, "remove the zone first", "zone %s is registered with group %llu, not %llu", fresh.id,
                  (unsigned long long)there->cgroup_id, (unsigned long long)fresh.cgroup_id);
  }
  pthread_mutex_unlock(&self->lock);
  return status;
}

/* Every record is known or refused: this enforcer denies nothing, and says so by AUDIT_ONLY; but a statement that it cannot even read may
 * mean something that matters to whoever sent it. */
static rauha_status check_records(const struct instance* self, rauha_call* call, rauha_array records) {
  for (uint32_t i = 0; i < records.count; ++i) {
    rauha_record record;
    rauha_status status = take(self, call, rauha_element(&records, i), &record, sizeof record, "policy record");
    if (status == RAUHA_OK) status = take_flags(self, call, record.flags & ~RAUHA_RECORD_CRITICAL, "policy record");
    if (status != RAUHA_OK) return status;
    const int known = record.tag >= RAUHA_ENFORCE_MODE && record.tag <= RAUHA_ENFORCE_USER_NAMESPACES;
    if (!known && (record.flags & RAUHA_RECORD_CRITICAL) != 0)
      return fail(self->host, call, RAUHA_E_UNSUPPORTED, "use a plugin as new as the daemon", "policy record %u is not known", record.tag);
    if (record.tag == RAUHA_ENFORCE_MODE && record.number > 1)
      return fail(self->host, call, RAUHA_E_UNSUPPORTED, NULL, "mode %llu is not known", (unsigned long long)record.number);
  }
  return RAUHA_OK;
}

static rauha_status unknown_zone(const struct instance* self, rauha_call* call, const char* id) {
  return fail(self->host, call, RAUHA_E_NOT_FOUND, "register it first", "zone %s is not registered", id);
}

static rauha_status policy_apply(rauha_instance* instance, rauha_call* call, const rauha_enforcer_policy* given) {
  struct instance* self = of(instance);
  rauha_enforcer_policy policy;
  char id[ID_MAX + 1];
  rauha_status status = take(self, call, given, &policy, sizeof policy, "policy");
  if (status == RAUHA_OK) status = take_flags(self, call, policy.flags, "policy");
  if (status == RAUHA_OK) status = take_id(self, call, policy.zone_id, id);
  if (status == RAUHA_OK) status = check_records(self, call, policy.records);
  if (status != RAUHA_OK) return status;

  pthread_mutex_lock(&self->lock);
  struct zone* zone = find(self, id);
  if (zone == NULL) {
    status = unknown_zone(self, call, id);
  } else {
    ++zone->policies;
    save(self, call, zone);
  }
  pthread_mutex_unlock(&self->lock);
  return status;
}

static void emit_labelled(const struct instance* self, const char* id, uint64_t tasks) {
  char number[24];
  snprintf(number, sizeof number, "%llu", (unsigned long long)tasks);
  const rauha_attribute attribute = {str("tasks"), str(number)};
  const rauha_event event = {sizeof event,
                             0,
                             1,
                             0,
                             str("count.labelled"),
                             str(id),
                             str("a task is about to run; nothing is enforced"),
                             {&attribute, 1, sizeof attribute}};
  self->events->emit(self->host->context, &event); /* a verdict never depends on its event; the host counts what it drops */
}

static rauha_status task_label(rauha_instance* instance, rauha_call* call, const rauha_enforcer_task* given) {
  struct instance* self = of(instance);
  rauha_enforcer_task task;
  char id[ID_MAX + 1];
  uint64_t tasks = 0;
  rauha_status status = take(self, call, given, &task, sizeof task, "task");
  if (status == RAUHA_OK) status = take_flags(self, call, task.flags, "task");
  if (status == RAUHA_OK) status = take_id(self, call, task.zone_id, id);
  if (status != RAUHA_OK) return status;
  if (fcntl(task.pidfd_borrow, F_GETFD) < 0)
    return fail(self->host, call, RAUHA_E_INVALID, NULL, "task %d of zone %s: pidfd %d: %s", task.pid, id, task.pidfd_borrow,
                strerror(errno));

  pthread_mutex_lock(&self->lock);
  struct zone* zone = find(self, id);
  if (zone == NULL) {
    status = unknown_zone(self, call, id);
  } else {
    tasks = ++zone->tasks;
    save(self, call, zone);
  }
  pthread_mutex_unlock(&self->lock);
  if (status == RAUHA_OK) emit_labelled(self, id, tasks);
  return status;
}

static rauha_status zone_remove(rauha_instance* instance, rauha_call* call, rauha_str zone_id) {
  struct instance* self = of(instance);
  char id[ID_MAX + 1];
  const rauha_status status = take_id(self, call, zone_id, id);
  if (status != RAUHA_OK) return status;
  pthread_mutex_lock(&self->lock);
  struct zone* zone = find(self, id);
  if (zone != NULL) drop(self, zone);
  pthread_mutex_unlock(&self->lock);
  return RAUHA_OK; /* gone already is gone; the host forgets the state by itself */
}

static rauha_status verify(rauha_instance* instance, rauha_call* call, rauha_str zone_id, const rauha_discrepancy_sink* sink) {
  struct instance* self = of(instance);
  char id[ID_MAX + 1];
  if (zone_id.len == 0) return RAUHA_OK; /* there is nothing in the kernel that could differ */
  const rauha_status status = take_id(self, call, zone_id, id);
  if (status != RAUHA_OK) return status;
  pthread_mutex_lock(&self->lock);
  const int there = find(self, id) != NULL;
  pthread_mutex_unlock(&self->lock);
  if (!there) {
    const rauha_discrepancy missing = {sizeof missing, 0, str(id), str("zone_missing"), str("the zone is not registered")};
    sink->push(sink->context, &missing);
  }
  return RAUHA_OK;
}

/* Every labelled task runs one program that it was let run; nothing else is seen. */
static rauha_status stats(rauha_instance* instance, rauha_call* call, rauha_str zone_id, const rauha_counters_sink* sink) {
  struct instance* self = of(instance);
  char id[ID_MAX + 1] = {0};
  rauha_status status = zone_id.len == 0 ? RAUHA_OK : take_id(self, call, zone_id, id);
  if (status != RAUHA_OK) return status;
  rauha_enforcer_counters counters = {sizeof counters, RAUHA_OPERATION_EXEC, 0, 0, 0, 0, self->events->dropped(self->host->context)};
  pthread_mutex_lock(&self->lock);
  if (zone_id.len == 0) {
    for (uint32_t i = 0; i < self->count; ++i) counters.allowed += self->zones[i].tasks;
  } else {
    const struct zone* zone = find(self, id);
    if (zone == NULL)
      status = unknown_zone(self, call, id);
    else
      counters.allowed = zone->tasks;
  }
  pthread_mutex_unlock(&self->lock);
  if (status == RAUHA_OK) sink->push(sink->context, &counters);
  return status;
}

static rauha_status drain(rauha_instance* instance, rauha_call* call) {
  struct instance* self = of(instance);
  /* Events are emitted before task_label returns: there are none on the way. */
  const uint64_t dropped = self->events->dropped(self->host->context);
  pthread_mutex_lock(&self->lock);
  const uint64_t lost = dropped - self->dropped_before;
  self->dropped_before = dropped;
  pthread_mutex_unlock(&self->lock);
  return lost == 0 ? RAUHA_OK : fail(self->host, call, RAUHA_E_LIMIT, NULL, "%llu events were lost", (unsigned long long)lost);
}

static int is_kept(rauha_array zones, const char* id) {
  for (uint32_t i = 0; i < zones.count; ++i) {
    rauha_str text;
    memcpy(&text, rauha_element(&zones, i), sizeof text);
    if (text.len == strlen(id) && memcmp(text.ptr, id, text.len) == 0) return 1;
  }
  return 0;
}

static rauha_status reconcile(rauha_instance* instance, rauha_call* call, rauha_array zones, const rauha_discrepancy_sink* sink) {
  struct instance* self = of(instance);
  rauha_status status = RAUHA_OK;
  pthread_mutex_lock(&self->lock);
  for (uint32_t i = self->count; i-- > 0;) {
    if (is_kept(zones, self->zones[i].id)) continue;
    const rauha_discrepancy removed = {sizeof removed, 0, str(self->zones[i].id), str("removed"), str("no such zone")};
    sink->push(sink->context, &removed); /* the host copies before it returns */
    drop(self, &self->zones[i]);
  }
  /* Zones of a daemon that is gone: the host has kept what we knew of them. */
  for (uint32_t i = 0; i < zones.count && status == RAUHA_OK; ++i) {
    struct zone zone = {0};
    rauha_str text;
    memcpy(&text, rauha_element(&zones, i), sizeof text);
    status = take_id(self, call, text, zone.id);
    if (status != RAUHA_OK || find(self, zone.id) != NULL) continue;
    restore(self, call, &zone);
    status = add(self, call, &zone);
  }
  pthread_mutex_unlock(&self->lock);
  return status;
}

static const rauha_enforcer_v1 table = {sizeof table, 0,      capabilities, zone_register, policy_apply, task_label,
                                        zone_remove,  verify, stats,        drain,         reconcile};

/* --- the plugin --- */

/* The section of rauha.toml: "max_zones = 100", comments, nothing else. */
static rauha_status read_config(struct instance* self, rauha_call* call, rauha_str config) {
  unsigned line = 1;
  for (size_t at = 0; at < config.len; ++line) {
    const char* begin = config.ptr + at;
    const char* newline = memchr(begin, '\n', config.len - at);
    const size_t size = newline == NULL ? config.len - at : (size_t)(newline - begin);
    char text[128] = {0}, key[64] = {0}, rest = 0;
    unsigned long long number = 0;
    at += size + 1;
    memcpy(text, begin, size < sizeof text ? size : sizeof text - 1);
    if (sscanf(text, " %63[A-Za-z0-9_-]", key) != 1) {
      if (sscanf(text, " %c", &rest) != 1 || rest == '#') continue;
      return fail(self->host, call, RAUHA_E_INVALID, NULL, "configuration: line %u: expected a key", line);
    }
    if (strcmp(key, "max_zones") != 0)
      return fail(self->host, call, RAUHA_E_INVALID, "it knows max_zones", "configuration: line %u: unknown key '%s'", line, key);
    const int items = size < sizeof text ? sscanf(text, " max_zones = %llu %c", &number, &rest) : 0;
    if (items < 1 || (items == 2 && rest != '#') || number < 1 || number > ZONES_MAX || strchr(text, '-') != NULL)
      return fail(self->host, call, RAUHA_E_INVALID, NULL, "configuration: line %u: max_zones must be a whole number from 1 to %u", line,
                  ZONES_MAX);
    self->max_zones = (uint32_t)number;
  }
  return RAUHA_OK;
}

static void destroy(rauha_instance* instance) {
  struct instance* self = of(instance);
  pthread_mutex_destroy(&self->lock);
  free(self->zones);
  free(self);
}

static rauha_status create(const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) {
  /* Size rule 3: nothing is read that the host may not have. get_service is the last function that we call. */
  if (!RAUHA_HAS(host, get_service)) {
    if (RAUHA_HAS(host, set_error))
      fail(host, call, RAUHA_E_UNSUPPORTED, "use a newer daemon", "the host's table has only %u bytes", host->struct_size);
    return RAUHA_E_UNSUPPORTED;
  }
  struct instance* self = calloc(1, sizeof *self);
  if (self == NULL) return fail(host, call, RAUHA_E_INTERNAL, NULL, "out of memory");
  pthread_mutex_init(&self->lock, NULL);
  self->host = host;
  self->max_zones = 1024;
  self->state = host->get_service(host->context, RAUHA_STATE_V1);
  self->events = host->get_service(host->context, RAUHA_EVENTS_V1);
  rauha_status status = self->state != NULL && self->events != NULL ? read_config(self, call, config)
                                                                    : fail(host, call, RAUHA_E_UNSUPPORTED, "use a newer daemon",
                                                                           "this host lacks rauha.state/1 or rauha.events/1");
  if (status == RAUHA_OK) {
    self->zones = calloc(self->max_zones, sizeof *self->zones);
    if (self->zones == NULL) status = fail(host, call, RAUHA_E_INTERNAL, NULL, "out of memory");
  }
  if (status != RAUHA_OK) {
    destroy((rauha_instance*)self);
    return status;
  }
  *out = (rauha_instance*)self;
  return RAUHA_OK;
}

static const void* get_interface(rauha_instance* instance, const char* id) {
  (void)instance;
  return strcmp(id, RAUHA_ENFORCER_V1) == 0 ? &table : NULL;
}

RAUHA_PLUGIN_NOTE("enforcer", "count-enforcer", "1.0");

const rauha_plugin* rauha_plugin_entry_v1(void) {
  static const char* const provides[] = {RAUHA_ENFORCER_V1, NULL};
  static const char* const services[] = {RAUHA_STATE_V1, RAUHA_EVENTS_V1, NULL};
  static const rauha_plugin plugin = {sizeof plugin, RAUHA_ABI_MINOR, "count-enforcer", "1.0",   "Apache-2.0",
                                      provides,      services,        create,           destroy, get_interface};
  return &plugin;
}
