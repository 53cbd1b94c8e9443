@0xd1c5a0f36e2b7a07;
# Evidence. One schema for the live stream, the log in the store and the lists in a task's result.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Common = import "common.capnp";
$Cxx.namespace("rauha::schema");

enum Severity { debug @0; info @1; notice @2; warning @3; error @4; }

struct Event {
  sequence @0 :UInt64;                           # per instance, without holes; a hole means events were dropped
  time @1 :Text;                                 # RFC 3339
  name @2 :Text;                                 # stable: area.what, see docs/events.md ("zone.created", "task.finished", "reconcile.zone_removed")
  severity @3 :Severity;
  zoneId @4 :Text $Json.name("zone_id");         # absent: not about a zone
  taskId @5 :Text $Json.name("task_id");
  source @6 :Text;                               # "core" or a plugin's name
  message @7 :Text;                              # for people, one line
  attributes @8 :List(Common.KeyValue);
}

struct EventCounters {
  emitted @0 :UInt64;
  dropped @1 :UInt64;   # by a full queue or a plugin's flood; a result with dropped > 0 is not complete
}
