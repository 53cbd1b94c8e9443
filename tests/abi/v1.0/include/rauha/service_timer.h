/* "rauha.timer/1": calls the plugin when time has passed.
 *
 * The callback runs on the plugin's service thread ([service] in plugin.h): the host has one per plugin, for its timers and watches
 * together, so that no two callbacks of one plugin ever run at once. It may block, and then delays only this plugin's other callbacks; one
 * that runs for more than 5 s is logged and shown in `plugin list`.
 *
 * CLOCK_MONOTONIC: a machine that sleeps stops the clock. At most RAUHA_TIMER_MAX live timers per plugin. The host cancels what is left
 * after destroy() returned; from then on no callback begins.
 */
#ifndef RAUHA_SERVICE_TIMER_H
#define RAUHA_SERVICE_TIMER_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_TIMER_V1 "rauha.timer/1"
#define RAUHA_TIMER_MAX 256u
#define RAUHA_TIMER_MIN_PERIOD_NS 1000000 /* 1 ms */

typedef struct rauha_timer_request {
  uint32_t struct_size;
  uint32_t flags;
  int64_t after_ns; /* until the first call; 0 or more */
  int64_t every_ns; /* between calls; 0: once only; else RAUHA_TIMER_MIN_PERIOD_NS or more */
  void* context;    /* the plugin's; given to fire */
  /* [service] times: how many periods have passed since the last call, 1 or more; a late callback is called once for all of them. */
  void (*fire)(void* context, uint64_t timer, uint64_t times) RAUHA_NOEXCEPT;
} rauha_timer_request;

typedef struct rauha_timer_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [any] Starts a timer; *timer is its number, never 0 and never used again, and written before the first call of fire. INVALID, LIMIT.
   * call: as in service_state.h, may be NULL. A timer that fires once is gone after its callback returned. */
  rauha_status (*start)(rauha_host_context*, rauha_call* call, const rauha_timer_request* request, uint64_t* timer) RAUHA_NOEXCEPT;
  /* [any] When it returns, fire does not run and will not be called again: it waits for a callback that is running, unless it is called
   * from a callback of this plugin (then the running one is the caller's own and will be the last). Do not hold a lock that fire takes.
   * Idempotent; an unknown number is no error. */
  void (*cancel)(rauha_host_context*, uint64_t timer) RAUHA_NOEXCEPT;
} rauha_timer_v1;

#ifdef __cplusplus
}
#endif
#endif
