/* "rauha.backend/1": builds and removes the boundary of zones.
 *
 * The backend makes the boundary (ids, control groups, namespaces or a VM) and starts the zone's shim; it hands the host one connected
 * socket that speaks the agent protocol (schemas/agent.capnp, installed in share/rauha/schemas). Everything that happens to processes goes
 * through that socket, not through this interface: making a process, which is blocked before its exec, letting it run, signals, waiting,
 * limits, the root file system. Who answers at the other end is the backend's business: a process on this host, or an agent in a VM; it
 * outlives the daemon, so that zones do, and zone_connect leads a later daemon to it.
 *
 * A zone's life, as the host calls: zone_create, then any of zone_update, zone_check and zone_connect, at last zone_destroy, which is also
 * called after a zone_create that failed at the host's side. All but reconcile and probe are about one zone and never overlap for it. The
 * daemon may be killed between any two of them: a later one calls reconcile first, and knows the zones by their ids alone. What has to be
 * remembered about a zone beyond the kernel's own state belongs into rauha.state/1.
 *
 * Names of kernel objects begin with the environment's `instance`, so that instances never touch each other and reconcile can find its own.
 */
#ifndef RAUHA_BACKEND_H
#define RAUHA_BACKEND_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_BACKEND_V1 "rauha.backend/1"

/* Tags of rauha_zone_spec.records. A limit that is absent means "none". All are sent with RAUHA_RECORD_CRITICAL. */
#define RAUHA_ZONE_CPU_MILLIS 1u   /* number: 1000 = one core */
#define RAUHA_ZONE_CPU_WEIGHT 2u   /* number: 1..10000 */
#define RAUHA_ZONE_MEMORY_BYTES 3u /* number; swap off; exceeding it ends the whole zone's processes */
#define RAUHA_ZONE_PIDS 4u         /* number */
#define RAUHA_ZONE_OPEN_FILES 5u   /* number: RLIMIT_NOFILE */
#define RAUHA_ZONE_IO_WEIGHT 6u    /* number: 1..10000 */
#define RAUHA_ZONE_IO_READ_BPS 7u  /* number: bytes per second on the device of state_dir */
#define RAUHA_ZONE_IO_WRITE_BPS 8u
#define RAUHA_ZONE_CORE_BYTES 9u    /* number: RLIMIT_CORE */
#define RAUHA_ZONE_CAPABILITY 10u   /* text: "chown"; one record each; capabilities without a record are dropped */
#define RAUHA_ZONE_SYSCALL_DENY 11u /* text: name; one record each */
#define RAUHA_ZONE_SYSCALL_ALLOW 12u
#define RAUHA_ZONE_DEVICE 13u       /* text: "/dev/fuse rw": host path, space, letters of rwm */
#define RAUHA_ZONE_NO_SUID_BITS 14u /* number 1: refuse setting set-user-ID and set-group-ID mode bits (repository is writable) */
#define RAUHA_ZONE_REQUIRE 15u      /* text: a layer's name; refuse the zone when it cannot be armed in full */

#define RAUHA_ZONE_EPHEMERAL 1u   /* flags: the shim kills the zone when the host's socket is lost */
#define RAUHA_ZONE_USERNS_HOST 2u /* flags: zone root is host root (privileged zones only) */
#define RAUHA_ZONE_PREPARE 4u     /* flags, since 1.1: only what does not depend on the policy; see zone_create */

#define RAUHA_NETWORK_ISOLATED 0u
#define RAUHA_NETWORK_BRIDGED 1u
#define RAUHA_NETWORK_HOST 2u

typedef struct rauha_zone_spec {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t network; /* RAUHA_NETWORK_* */
  uint32_t reserved;
  rauha_str zone_id; /* unique for ever; [a-z0-9_], at most 40 bytes */
  rauha_str hostname;
  rauha_array records; /* of rauha_record */
} rauha_zone_spec;

#define RAUHA_ZONE_HANDLE_CGROUP 1u /* flags: cgroup_fd_take is given */
typedef struct rauha_zone_handle {
  uint32_t struct_size;  /* set by the caller */
  uint32_t flags;        /* RAUHA_ZONE_HANDLE_* */
  int32_t agent_fd_take; /* connected stream socket, agent protocol; the caller closes */
  int32_t shim_pid;      /* 0: none on this host */
  uint32_t host_id_base; /* first host id of the zone's range; 0 with USERNS_HOST */
  uint32_t host_id_count;
  int32_t cgroup_fd_take; /* directory of the zone's control group in the v2 tree (O_PATH will do); for enforcers; the caller closes */
  uint32_t reserved;
} rauha_zone_handle;

/* What reconcile came across. Facts. */
typedef struct rauha_zone_finding {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id; /* absent: not attributable */
  rauha_str object;  /* "cgroup /sys/fs/cgroup/rauha/zone_x", "process 123", … */
  rauha_str action;  /* "removed", "adopted", "left: <reason>" */
} rauha_zone_finding;

typedef struct rauha_finding_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, const rauha_zone_finding* finding) RAUHA_NOEXCEPT;
} rauha_finding_sink;

typedef struct rauha_backend_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [worker] What this machine can arm, one layer each; changes nothing. */
  rauha_status (*probe)(rauha_instance*, rauha_call*, const rauha_layer_sink* sink) RAUHA_NOEXCEPT;
  /* [zone] Builds the boundary. Layers that were armed by the backend itself (groups, namespaces) are pushed to the sink.
   * On failure nothing is left. EXISTS when the zone is there already.
   * Since 1.1, with RAUHA_ZONE_PREPARE: makes as much of the boundary as is known without records, of which there are none then; *out has
   * no descriptors (-1). A later zone_create of the same id without the flag finishes it, whatever its flags, network and hostname, if need
   * be by making it anew; or zone_destroy removes it. Nothing foreign runs in between, and the host never finishes one zone twice. A
   * backend that has nothing to gain answers UNSUPPORTED, as one of 1.0 does, and is not asked again. */
  rauha_status (*zone_create)(rauha_instance*, rauha_call*, const rauha_zone_spec* spec, const rauha_layer_sink* sink,
                              rauha_zone_handle* out) RAUHA_NOEXCEPT;
  /* [zone] A new connection to the shim of a zone that was made before (also by an earlier daemon). NOT_FOUND when it is gone. */
  rauha_status (*zone_connect)(rauha_instance*, rauha_call*, rauha_str zone_id, rauha_zone_handle* out) RAUHA_NOEXCEPT;
  /* [zone] Changes limits on a living zone: only records 1..4 and 6..8 may be given; others are refused with UNSUPPORTED. */
  rauha_status (*zone_update)(rauha_instance*, rauha_call*, const rauha_zone_spec* spec) RAUHA_NOEXCEPT;
  /* [zone] Ends everything in the zone and removes every kernel object of it. Idempotent: a zone that is gone is RAUHA_OK; works from the
   * id alone. */
  rauha_status (*zone_destroy)(rauha_instance*, rauha_call*, rauha_str zone_id) RAUHA_NOEXCEPT;
  /* [zone] Compares the kernel with the wish, changes nothing; OK when it stands, CONFLICT with what differs in the text. */
  rauha_status (*zone_check)(rauha_instance*, rauha_call*, rauha_str zone_id) RAUHA_NOEXCEPT;
  /* [worker] Once after start: `zones` (array of rauha_str) are to be kept; everything else that carries our instance's name is removed
   * and reported. */
  rauha_status (*reconcile)(rauha_instance*, rauha_call*, rauha_array zones, const rauha_finding_sink* sink) RAUHA_NOEXCEPT;
} rauha_backend_v1;

#ifdef __cplusplus
}
#endif
#endif
