/* "rauha.state/1": a small memory per zone, kept by the host for the plugin.
 *
 * One opaque blob per zone and plugin, at most RAUHA_STATE_MAX_BYTES. The host keeps it in its own store: a put that returned OK
 * survives a killed daemon. It never reads it, and never gives it to another plugin. The blob goes with the zone's record: after
 * zone_destroy (or zone_remove) returned OK there is nothing to erase. So a plugin needs no files of its own to find its zones again.
 *
 * What is here is a help and no truth: a plugin removes a zone from its id alone, with no state or with one that is damaged.
 *
 * Get the table with host->get_service(host->context, RAUHA_STATE_V1); name the id in requires_services to be refused where it is missing.
 * `call`: the call in progress, whose error text the host sets on failure, so that the plugin can return the status as it is; NULL from a
 * callback: then the text is logged.
 */
#ifndef RAUHA_SERVICE_STATE_H
#define RAUHA_SERVICE_STATE_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_STATE_V1 "rauha.state/1"
#define RAUHA_STATE_MAX_BYTES 65536u

typedef struct rauha_bytes_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, rauha_bytes bytes) RAUHA_NOEXCEPT; /* bytes: borrowed for the push */
} rauha_bytes_sink;

typedef struct rauha_state_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [any] Replaces the zone's blob as one step. NOT_FOUND: the host has no record of such a zone. LIMIT: larger than
   * RAUHA_STATE_MAX_BYTES. */
  rauha_status (*put)(rauha_host_context*, rauha_call* call, rauha_str zone_id, rauha_bytes bytes) RAUHA_NOEXCEPT;
  /* [any] Pushes the blob once, before it returns. NOT_FOUND: nothing was put, or the zone is gone; nothing is pushed. */
  rauha_status (*get)(rauha_host_context*, rauha_call* call, rauha_str zone_id, const rauha_bytes_sink* sink) RAUHA_NOEXCEPT;
  /* [any] Idempotent: nothing there is RAUHA_OK. */
  rauha_status (*erase)(rauha_host_context*, rauha_call* call, rauha_str zone_id) RAUHA_NOEXCEPT;
} rauha_state_v1;

#ifdef __cplusplus
}
#endif
#endif
