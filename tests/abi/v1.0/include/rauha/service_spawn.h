/* "rauha.spawn/1": runs a helper program the way a daemon with threads and an event loop must.
 *
 * A plugin does not fork by itself: the daemon's signal mask and ignored signals would be inherited, descriptors of others would leak, and
 * what runs between fork and exec in a process with threads may hang. The helper gets: default signals and an empty mask, exactly the
 * listed descriptors (0, 1 and 2 are /dev/null unless listed), exactly the given environment, "/" or the given directory, umask 022, its
 * own session, no set-user-ID rights unless asked for. It has the daemon's user, rights and control group.
 *
 * Children are told apart by pidfd. Never wait for "any child": others would lose theirs. SIGCHLD is nobody's.
 *
 * The helper is killed (SIGKILL) when the thread that started it ends, so call start on a thread of the host ([zone], [worker],
 * [service]), not on one of the plugin's own that may go: thus nothing survives a killed daemon. What still runs after destroy()
 * returned is killed and reaped by the host. At most RAUHA_SPAWN_MAX helpers per plugin at one time, counting those that ended and were not
 * waited for.
 */
#ifndef RAUHA_SERVICE_SPAWN_H
#define RAUHA_SERVICE_SPAWN_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_SPAWN_V1 "rauha.spawn/1"
#define RAUHA_SPAWN_MAX 32u

typedef struct rauha_spawn_descriptor {
  uint32_t struct_size;
  uint32_t flags;
  int32_t fd_borrow; /* an open descriptor of this process */
  int32_t number;    /* what it is in the helper: 0..255, each once */
} rauha_spawn_descriptor;

#define RAUHA_SPAWN_SET_USER_ID 1u /* flags: set-user-ID bits and file capabilities of the program count; else no_new_privs is set */

typedef struct rauha_spawn_request {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str program;       /* absolute path; no search */
  rauha_array arguments;   /* of rauha_str, the whole argv with its first entry; 1..1024 */
  rauha_array environment; /* of rauha_str, "NAME=value"; at most 1024; nothing is inherited */
  rauha_array descriptors; /* of rauha_spawn_descriptor */
  rauha_str directory;     /* absolute; absent: "/" */
} rauha_spawn_request;

typedef struct rauha_spawn_handle {
  uint32_t struct_size; /* set by the caller */
  uint32_t flags;
  int32_t pidfd_take; /* the caller closes; readable once the helper has ended */
  int32_t pid;        /* for texts only */
} rauha_spawn_handle;

#define RAUHA_SPAWN_EXITED 0u
#define RAUHA_SPAWN_SIGNALED 1u
typedef struct rauha_spawn_end {
  uint32_t struct_size; /* set by the caller */
  uint32_t flags;
  uint32_t how;  /* RAUHA_SPAWN_* */
  uint32_t code; /* exit code, or signal */
} rauha_spawn_end;

typedef struct rauha_spawn_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [zone] [worker] [service] Returns when the program runs, that is after its exec succeeded. NOT_FOUND and DENIED: the exec's reason.
   * INVALID, LIMIT. call: as in service_state.h, may be NULL. */
  rauha_status (*start)(rauha_host_context*, rauha_call* call, const rauha_spawn_request* request, rauha_spawn_handle* out) RAUHA_NOEXCEPT;
  /* [zone] [worker] [service] Waits for the end of a helper that start gave, and reaps it; once per helper. CANCELLED and DEADLINE when the
   * call's end came first: the helper goes on (send it a signal with pidfd_send_signal(2), and wait again). NOT_FOUND: not a helper of this
   * plugin's, or it was waited for already. */
  rauha_status (*wait)(rauha_host_context*, rauha_call* call, int32_t pidfd_borrow, rauha_spawn_end* out) RAUHA_NOEXCEPT;
} rauha_spawn_v1;

#ifdef __cplusplus
}
#endif
#endif
