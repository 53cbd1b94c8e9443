/* "rauha.events/1": events for the record and for `rauha events`, with an answer.
 *
 * The same events as host->emit, for plugins that want to know what became of one. An event is copied before emit returns and queued for
 * the event loop; the queue is bounded, and each plugin has a rate of its own in it, so that one that floods loses its own events and
 * nobody else's. A dropped event is counted, here, in `rauha plugin list` and in the record. Never wait for room: a verdict must not depend
 * on whether its event could be recorded.
 */
#ifndef RAUHA_SERVICE_EVENTS_H
#define RAUHA_SERVICE_EVENTS_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_EVENTS_V1 "rauha.events/1"

typedef struct rauha_events_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [any] OK: queued. LIMIT: dropped, because the queue is full or the plugin emits too fast. INVALID: dropped, because the event breaks
   * its rules (name "area.what", at most 32 attributes); the reason is logged with the plugin's name. */
  rauha_status (*emit)(rauha_host_context*, const rauha_event* event) RAUHA_NOEXCEPT;
  /* [any] How many events of this plugin were dropped since it was made, whatever the reason and whichever way they came. */
  uint64_t (*dropped)(rauha_host_context*) RAUHA_NOEXCEPT;
} rauha_events_v1;

#ifdef __cplusplus
}
#endif
#endif
