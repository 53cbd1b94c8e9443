/* "rauha.watch/1": calls the plugin when a descriptor is ready: a socket, a pipe, a pidfd (readable: the process has ended), an eventfd.
 *
 * Callbacks run on the plugin's service thread, one at a time together with its timers: see service_timer.h. A watch reports a state and
 * not a change: as long as the descriptor is ready, the callback is called again, so read what is there, or remove the watch.
 *
 * The host watches a duplicate. So the plugin may close its own descriptor at any time, but the file stays open (a peer sees no end) until
 * the watch is removed; and removing a watch closes nothing of the plugin's.
 *
 * At most RAUHA_WATCH_MAX watches per plugin. The host removes what is left after destroy() returned; from then on no callback begins.
 */
#ifndef RAUHA_SERVICE_WATCH_H
#define RAUHA_SERVICE_WATCH_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_WATCH_V1 "rauha.watch/1"
#define RAUHA_WATCH_MAX 256u

/* events */
#define RAUHA_WATCH_READABLE 1u
#define RAUHA_WATCH_WRITABLE 2u
#define RAUHA_WATCH_HUNG_UP 4u /* the other end is gone, or an error is pending; reported whether asked for or not */

#define RAUHA_WATCH_ONCE 1u /* flags: removed by the host before its first callback */

typedef struct rauha_watch_request {
  uint32_t struct_size;
  uint32_t flags;
  int32_t fd_borrow; /* duplicated; what poll(2) cannot wait for (a regular file) is UNSUPPORTED */
  uint32_t events;   /* RAUHA_WATCH_*; 0: HUNG_UP only */
  void* context;     /* the plugin's; given to ready */
  /* [service] events: what the descriptor is ready for now. */
  void (*ready)(void* context, uint64_t watch, uint32_t events) RAUHA_NOEXCEPT;
} rauha_watch_request;

typedef struct rauha_watch_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [any] Begins; *watch is its number, never 0 and never used again, and written before the first call of ready. INVALID, UNSUPPORTED,
   * LIMIT. call: as in service_state.h, may be NULL. */
  rauha_status (*add)(rauha_host_context*, rauha_call* call, const rauha_watch_request* request, uint64_t* watch) RAUHA_NOEXCEPT;
  /* [any] When it returns, ready does not run and will not be called again: it waits for a callback that is running, unless it is called
   * from a callback of this plugin. Do not hold a lock that ready takes. Idempotent; an unknown number is no error. */
  void (*remove)(rauha_host_context*, uint64_t watch) RAUHA_NOEXCEPT;
} rauha_watch_v1;

#ifdef __cplusplus
}
#endif
#endif
