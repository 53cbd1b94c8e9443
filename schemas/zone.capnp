@0xd1c5a0f36e2b7a09;
# Zones as clients see them.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Policy = import "policy.capnp";
using Task = import "task.capnp";
using Agent = import "agent.capnp";
$Cxx.namespace("rauha::schema");

enum ZoneState {
  creating @0;
  ready @1;      # the boundary stands
  deleting @2;
  failed @3;     # the shim is gone, or a step could not be undone; delete it
}

struct ZoneInfo {
  id @0 :Text;
  name @1 :Text;
  state @2 :ZoneState;
  policy @3 :Text;                                    # name
  policyDigest @4 :Text $Json.name("policy_digest");
  createdAt @5 :Text $Json.name("created_at");
  shimPid @6 :Int32 $Json.name("shim_pid");           # 0: none
  temporary @7 :Bool;                                 # of a sandbox task
  taskId @8 :Text $Json.name("task_id");              # of the task that made it, if any
  posture @9 :Task.Posture;                           # `zone show` only
  usage @10 :Agent.Usage;                             # `zone show` only
  backend @11 :Text;
  ownerUid @12 :UInt32 $Json.name("owner_uid");
}
