/* Compiles only as long as no released field moved, changed its size, or went away. Appending is free. */
#include <rauha/backend.h>
#include <rauha/image.h>
#include <rauha/service_events.h>
#include <rauha/service_spawn.h>
#include <rauha/service_state.h>
#include <rauha/service_timer.h>
#include <rauha/service_watch.h>

_Static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8, "the layout was recorded on a 64-bit machine");

#define RAUHA_LAYOUT(type, field, offset, size)                                               \
  _Static_assert(offsetof(type, field) == (offset), #type "." #field " is not where it was"); \
  _Static_assert(sizeof(((type*)0)->field) == (size), #type "." #field " has another size");
#include "layout_v1.inc"

/* No implicit padding at the end either: the size is where the next field will begin. */
#define RAUHA_WHOLE(type, last) _Static_assert(sizeof(type) == offsetof(type, last) + sizeof(((type*)0)->last), #type " ends with padding")
RAUHA_WHOLE(rauha_record, text);
RAUHA_WHOLE(rauha_layer, remedy);
RAUHA_WHOLE(rauha_event, attributes);
RAUHA_WHOLE(rauha_environment, libexec_dir);
RAUHA_WHOLE(rauha_host, get_service);
RAUHA_WHOLE(rauha_plugin, get_interface);
RAUHA_WHOLE(rauha_note, version);
RAUHA_WHOLE(rauha_zone_spec, records);
RAUHA_WHOLE(rauha_zone_handle, reserved);
RAUHA_WHOLE(rauha_zone_finding, action);
RAUHA_WHOLE(rauha_backend_v1, reconcile);
RAUHA_WHOLE(rauha_image_request, records);
RAUHA_WHOLE(rauha_image_layer, size);
RAUHA_WHOLE(rauha_image_mount, target);
RAUHA_WHOLE(rauha_image_info, created_ns);
RAUHA_WHOLE(rauha_image_check, images);
RAUHA_WHOLE(rauha_image_sink, check);
RAUHA_WHOLE(rauha_image_v1, verify);
RAUHA_WHOLE(rauha_bytes_sink, push);
RAUHA_WHOLE(rauha_state_v1, erase);
RAUHA_WHOLE(rauha_events_v1, dropped);
RAUHA_WHOLE(rauha_timer_request, fire);
RAUHA_WHOLE(rauha_timer_v1, cancel);
RAUHA_WHOLE(rauha_watch_request, ready);
RAUHA_WHOLE(rauha_watch_v1, remove);
RAUHA_WHOLE(rauha_spawn_descriptor, number);
RAUHA_WHOLE(rauha_spawn_request, directory);
RAUHA_WHOLE(rauha_spawn_handle, pid);
RAUHA_WHOLE(rauha_spawn_end, code);
RAUHA_WHOLE(rauha_spawn_v1, wait);

/* A note is a part of the file format: its body may grow, its beginning may not move. */
_Static_assert(sizeof(rauha_note) == 84, "the note's size is part of its own fields");
