/* "rauha.enforcer/1", DRAFT: makes the kernel respect the zones that the backend built. Not promised yet: it is frozen when the first
 * enforcer lands, and until then a plugin must be built with the very daemon that loads it. The id does not change then.
 *
 * Identity is a label on tasks, set by pidfd before the task's first foreign instruction, inherited by its children, and kept whatever
 * control group they are moved to. A control group's id is given as well, for enforcers that can only work with that; such an enforcer says
 * so by RAUHA_ENFORCER_BY_CGROUP, and the posture shows it.
 *
 * Order per zone: zone_register, policy_apply, then task_label for each process that is still blocked before its exec, and at the end
 * zone_remove. A zone that has no policy yet denies everything to what is labelled with it.
 *
 * Deny wins. A verdict never depends on whether its event could be recorded; what was not recorded is counted. An event of something denied
 * has severity 3 (warning) or more and is told to the caller as a refusal; what was only seen or counted has less.
 */
#ifndef RAUHA_DRAFT_ENFORCER_H
#define RAUHA_DRAFT_ENFORCER_H

#include "../plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_ENFORCER_V1 "rauha.enforcer/1"

/* What can be decided upon: bits of capabilities.operations, indices of stats. */
#define RAUHA_OPERATION_FILE_OPEN 0u
#define RAUHA_OPERATION_EXEC 1u
#define RAUHA_OPERATION_MMAP_EXEC 2u
#define RAUHA_OPERATION_PTRACE 3u
#define RAUHA_OPERATION_SIGNAL 4u
#define RAUHA_OPERATION_CGROUP_ATTACH 5u
#define RAUHA_OPERATION_CAPABILITY 6u
#define RAUHA_OPERATION_SOCKET 7u
#define RAUHA_OPERATION_MOUNT 8u

/* How far the machine was proved to be: each state includes the ones before it. Only ENFORCING means that an operation was tried and
 * denied. */
#define RAUHA_ENFORCER_LISTED 0u
#define RAUHA_ENFORCER_LOADABLE 1u
#define RAUHA_ENFORCER_ATTACHED 2u
#define RAUHA_ENFORCER_ENFORCING 3u

#define RAUHA_ENFORCER_BY_CGROUP 1u  /* flags: identity is the control group, not the task */
#define RAUHA_ENFORCER_AUDIT_ONLY 2u /* flags: denials are counted and let pass */
typedef struct rauha_enforcer_capabilities {
  uint32_t struct_size; /* set by the caller */
  uint32_t flags;
  uint32_t state;      /* RAUHA_ENFORCER_* */
  uint32_t max_zones;  /* at one time */
  uint64_t operations; /* bit per RAUHA_OPERATION_* */
} rauha_enforcer_capabilities;

/* Tags of rauha_enforcer_policy.records. All are sent with RAUHA_RECORD_CRITICAL: what cannot be enforced is refused, naming the record. */
#define RAUHA_ENFORCE_MODE 1u             /* number: 0 enforce, 1 audit */
#define RAUHA_ENFORCE_CAPABILITY 2u       /* text: "chown"; one record each; with any, all others are denied */
#define RAUHA_ENFORCE_NO_CAPABILITIES 3u  /* number 1: every capability is denied. (An empty set is never "unrestricted".) */
#define RAUHA_ENFORCE_PTRACE 4u           /* number: 0 nothing, 1 inside of the zone */
#define RAUHA_ENFORCE_MOUNT_NAMESPACE 5u  /* number: inode of the zone's mount namespace; files outside of it are denied */
#define RAUHA_ENFORCE_FILE_SYSTEM 6u      /* number: device; text: letters of rwx: allowed although outside of the view */
#define RAUHA_ENFORCE_PEER 7u             /* text: "zone_x signal,ptrace,unix,tcp,file": what may cross to that zone */
#define RAUHA_ENFORCE_SOCKET_FAMILY 8u    /* number: AF_*; one record each; families without a record are denied */
#define RAUHA_ENFORCE_MEMFD_EXEC 9u       /* number: 1 allowed */
#define RAUHA_ENFORCE_USER_NAMESPACES 10u /* number: 1 allowed */

typedef struct rauha_enforcer_policy {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id;
  rauha_str digest;    /* of the policy it was made from; verify compares it */
  rauha_array records; /* of rauha_record */
} rauha_enforcer_policy;

typedef struct rauha_enforcer_zone {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id;
  rauha_str cgroup_path; /* absolute, of the v2 tree */
  uint64_t cgroup_id;    /* inode of that directory */
} rauha_enforcer_zone;

typedef struct rauha_enforcer_task {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id;
  int32_t pidfd_borrow; /* blocked before its exec, and alone in its thread group */
  int32_t pid;          /* for texts only */
} rauha_enforcer_task;

/* Facts. */
typedef struct rauha_enforcer_counters {
  uint32_t struct_size;
  uint32_t operation; /* RAUHA_OPERATION_* */
  uint64_t allowed;
  uint64_t denied;
  uint64_t would_deny; /* audit mode */
  uint64_t errors;     /* internal failures; each was a denial */
  uint64_t lost;       /* events that could not be recorded */
} rauha_enforcer_counters;

typedef struct rauha_counters_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, const rauha_enforcer_counters* counters) RAUHA_NOEXCEPT;
} rauha_counters_sink;

/* One difference between what should be and what the kernel has. Facts. */
typedef struct rauha_discrepancy {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id; /* absent: about the enforcer as a whole */
  rauha_str kind;    /* "zone_missing", "policy_mismatch", "hook_inactive", "canary_allowed", … */
  rauha_str detail;
} rauha_discrepancy;

typedef struct rauha_discrepancy_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, const rauha_discrepancy* discrepancy) RAUHA_NOEXCEPT;
} rauha_discrepancy_sink;

typedef struct rauha_enforcer_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [worker] What this machine can enforce, by trying it where that changes nothing for others. */
  rauha_status (*capabilities)(rauha_instance*, rauha_call*, rauha_enforcer_capabilities* out) RAUHA_NOEXCEPT;
  /* [zone] Makes the zone known. Idempotent with the same group; CONFLICT with another. Until policy_apply it denies everything. */
  rauha_status (*zone_register)(rauha_instance*, rauha_call*, const rauha_enforcer_zone*) RAUHA_NOEXCEPT;
  /* [zone] Replaces the zone's policy as one step: no moment with neither or half of it. UNSUPPORTED names the record that cannot be
   * enforced. */
  rauha_status (*policy_apply)(rauha_instance*, rauha_call*, const rauha_enforcer_policy*) RAUHA_NOEXCEPT;
  /* [zone] Labels one task; its children inherit. NOT_FOUND: the zone is not registered. CONFLICT: it has another zone's label. */
  rauha_status (*task_label)(rauha_instance*, rauha_call*, const rauha_enforcer_task*) RAUHA_NOEXCEPT;
  /* [zone] Forgets the zone. Tasks that still carry its label are denied everything. Idempotent; works from the id alone. */
  rauha_status (*zone_remove)(rauha_instance*, rauha_call*, rauha_str zone_id) RAUHA_NOEXCEPT;
  /* [worker] Reads back programs, links and maps, compares them with what was applied, and tries a canary denial. Changes nothing. OK with
   * nothing pushed: all stands. zone_id absent: all zones. */
  rauha_status (*verify)(rauha_instance*, rauha_call*, rauha_str zone_id, const rauha_discrepancy_sink*) RAUHA_NOEXCEPT;
  /* [worker] Counters since the zone was registered, one push per operation. zone_id absent: of the whole machine. */
  rauha_status (*stats)(rauha_instance*, rauha_call*, rauha_str zone_id, const rauha_counters_sink*) RAUHA_NOEXCEPT;
  /* [worker] Waits until every event of what happened before the call was emitted (rauha_host.emit), or says LIMIT when some were lost. */
  rauha_status (*drain)(rauha_instance*, rauha_call*) RAUHA_NOEXCEPT;
  /* [worker] Once after start: `zones` (array of rauha_str) are to be kept; all others of our instance go and are pushed with the kind
   * "removed". */
  rauha_status (*reconcile)(rauha_instance*, rauha_call*, rauha_array zones, const rauha_discrepancy_sink*) RAUHA_NOEXCEPT;
} rauha_enforcer_v1;

#ifdef __cplusplus
}
#endif
#endif
