#pragma once
// Names of the events that core emits. Stable: a name is never reused for something else; docs/events.md lists them with their attributes.
// A plugin's event keeps the plugin's own name ("area.what") and has the plugin as source.

#include <string_view>

namespace rauha::evidence::names {

// The daemon.
inline constexpr std::string_view kDaemonStarted = "daemon.started";    // ready to serve; attributes: version, pid, root
inline constexpr std::string_view kDaemonStopping = "daemon.stopping";  // no new work from here; attributes: reason
inline constexpr std::string_view kClientRefused = "client.refused";  // a connection or call was turned away; attributes: uid, pid, reason

// Zones.
inline constexpr std::string_view kZoneCreating = "zone.creating";  // recorded, nothing built yet; attributes: name, policy
inline constexpr std::string_view kZoneCreated = "zone.created";    // the boundary stands; attributes: name, policy, policy_digest
inline constexpr std::string_view kZoneDeleted = "zone.deleted";    // nothing of it is left; attributes: name
inline constexpr std::string_view kZoneFailed = "zone.failed";      // the shim is gone or a step could not be undone; attributes: reason
inline constexpr std::string_view kZonePolicyApplied = "zone.policy_applied";  // limits of a living zone changed; attributes: policy_digest

// Tasks.
inline constexpr std::string_view kTaskStarted = "task.started";  // its first process runs; attributes: command, image
inline constexpr std::string_view kTaskFinished =
    "task.finished";  // exited or killed by a signal of its own; attributes: status, exit_code, signal
inline constexpr std::string_view kTaskCancelled = "task.cancelled";        // ended for its client; attributes: status, reason
inline constexpr std::string_view kTaskTimedOut = "task.timed_out";         // ended by its time limit; attributes: status, timeout_ms
inline constexpr std::string_view kTaskOutOfMemory = "task.out_of_memory";  // ended by its memory limit; attributes: status, memory_bytes
inline constexpr std::string_view kTaskFailed = "task.failed";              // Rauha could not run it; attributes: status, class, code
inline constexpr std::string_view kTaskPidsRefused =
    "task.pids_refused";  // forks that the pids limit refused; attributes: count, pids, allowing_line
inline constexpr std::string_view kTaskOutputTruncated =
    "task.output_truncated";  // more output than the policy keeps; attributes: stream, bytes, kept

inline constexpr std::string_view kRepositoryCopying =
    "repository.copying";  // it cannot be mounted and is copied, at the start and every ten seconds; attributes: files, bytes

// Policy.
inline constexpr std::string_view kPolicyRefused =
    "policy.refused";  // refused: a required layer cannot be armed; attributes: object, allowing_line
inline constexpr std::string_view kPolicyWarning =
    "policy.warning";  // what is risky in the policy of a task that is about to run; attributes: policy, warning
inline constexpr std::string_view kPolicyDegraded =
    "policy.degraded";  // a required layer was waived by an explicit option; attributes: layer
inline constexpr std::string_view kPolicyTimeoutCut =
    "policy.timeout_cut";  // a task asked for more time than its policy allows; attributes: asked_ms, timeout_ms, allowing_line

// Reconcile: what a start found and did.
inline constexpr std::string_view kReconcileStarted = "reconcile.started";    // attributes: zones, tasks
inline constexpr std::string_view kReconcileFinished = "reconcile.finished";  // attributes: adopted, removed, tasks
inline constexpr std::string_view kReconcileZoneRemoved =
    "reconcile.zone_removed";  // half-built, temporary or without a shim; attributes: reason
inline constexpr std::string_view kReconcileZoneAdopted = "reconcile.zone_adopted";  // its shim answered; attributes: name
inline constexpr std::string_view kReconcileTaskClosed =
    "reconcile.task_closed";  // its daemon died; it now has a result; attributes: status
inline constexpr std::string_view kReconcileObjectRemoved =
    "reconcile.object_removed";                                                    // a stranger with our name; attributes: object, action
inline constexpr std::string_view kReconcileObjectLeft = "reconcile.object_left";  // could not be removed; attributes: object, reason

// Plugins.
inline constexpr std::string_view kPluginLoaded = "plugin.loaded";    // attributes: name, version, path
inline constexpr std::string_view kPluginRefused = "plugin.refused";  // attributes: path, reason
inline constexpr std::string_view kPluginCallAbandoned =
    "plugin.call_abandoned";  // a call did not return long after its deadline, its worker was given up; attributes: name, function
inline constexpr std::string_view kPluginEvent = "plugin.event";  // of a plugin that gave its event no name of its own

// Enforcement.
inline constexpr std::string_view kEnforcementIncomplete =
    "enforcement.incomplete";  // counters or events of a run are missing; attributes: enforcer, reason

// Images.
inline constexpr std::string_view kImageImported = "image.imported";  // attributes: reference, digest
inline constexpr std::string_view kImageRemoved = "image.removed";    // attributes: reference, digest

// The evidence itself.
inline constexpr std::string_view kEvidenceDropped = "evidence.dropped";      // the flood guard refused events; attributes: source, count
inline constexpr std::string_view kEvidenceMalformed = "evidence.malformed";  // an event whose name was none; attributes: name
inline constexpr std::string_view kEvidenceStoreFailed = "evidence.store_failed";  // events are not in the log; attributes: count, reason

}  // namespace rauha::evidence::names
