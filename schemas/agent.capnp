@0xd1c5a0f36e2b7a05;
# The agent protocol: everything that happens to processes of a zone. Spoken by rauha-shim (namespace zones, Unix socket) and by the
# guest agent (VM zones, vsock, no descriptors). The client is core (or, for a VM, the host-side shim).
#
# The agent executes, it does not decide. It survives its client: on a new connection everything that runs is still there.
# Exception: `ephemeral` zones (of `rauha sandbox`) are killed when the client's connection is lost.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Common = import "common.capnp";
using Container = import "container.capnp";
$Cxx.namespace("rauha::schema");

struct Usage {
  # Read from the zone's control groups. 0 where the kernel does not tell; `partial` names what is missing or inexact.
  cpuUserUs @0 :UInt64 $Json.name("cpu_user_us");
  cpuSystemUs @1 :UInt64 $Json.name("cpu_system_us");
  memoryPeakBytes @2 :UInt64 $Json.name("memory_peak_bytes");
  pidsPeak @3 :UInt64 $Json.name("pids_peak");
  ioReadBytes @4 :UInt64 $Json.name("io_read_bytes");
  ioWriteBytes @5 :UInt64 $Json.name("io_write_bytes");
  partial @6 :List(Text);
  oomKills @7 :UInt64 $Json.name("oom_kills");
  pidsRefused @8 :UInt64 $Json.name("pids_refused");   # forks that the pids limit refused
}

struct ExitInfo {
  union {
    exited @0 :UInt8;
    signaled @1 :UInt8;
  }
  outOfMemory @2 :Bool;      # the zone reached its memory limit and was ended for it
  startedNs @3 :Int64;       # CLOCK_REALTIME
  finishedNs @4 :Int64;
  usage @5 :Usage;
}

struct Stage {
  # Where the time of a start went; for the benchmark and `rauha sandbox --trace`.
  name @0 :Text;
  ns @1 :UInt64;
}

struct Layers {
  # What the agent really armed on the zone's processes. Evidence for the posture, never a wish.
  userNamespace @0 :Bool $Json.name("user_namespace");
  seccomp @1 :Bool;
  seccompRules @2 :UInt32 $Json.name("seccomp_rules");   # BPF instructions
  landlockAbi @3 :UInt32 $Json.name("landlock_abi");     # 0: not armed
  capabilities @4 :List(Text);                           # bounding set that is left
  noNewPrivs @5 :Bool $Json.name("no_new_privs");
  notes @6 :List(Text);                                  # one line for each thing that is weaker than asked
}

interface Process {
  start @0 () -> (outcome :Outcome);
  # Lets the blocked process exec. Class "command" when exec fails: notFound -> 127, denied -> 126.

  wait @1 () -> (exit :ExitInfo);
  # Resolves when the process is dead, its output is drained (bounded: a grandchild that keeps the pipe open is not waited for longer
  # than a second) and its usage is read. Any number of waiters.

  signal @2 (number :Int32);       # to the process; no error when it is gone
  stdin @3 () -> (sink :Common.ByteSink);   # one stream; a second call fails
  resize @4 (rows :UInt16, columns :UInt16);
  attach @5 (stdout :Common.ByteSink, stderr :Common.ByteSink);
  # Output goes to these sinks; with a terminal all goes to stdout. Called before `start`, nothing is lost. When a sink fails, output is read and dropped.

  died @6 ();
  # Resolves as soon as the process is dead, unlike `wait`: its output may still be on its way, and what it left in the background may hold the
  # pipe. For whoever ends a zone, and gives a grace to the process but none to what it leaves. Any number of waiters.
}

struct Outcome {
  # Domain failures travel as values; RPC exceptions are for bugs and lost peers.
  union {
    ok @0 :Void;
    error @1 :Common.Error;
  }
}

interface Agent {
  hello @0 (version :Text) -> (version :Text, zoneId :Text, pid :Int32);

  create @1 (spec :Container.ContainerSpec, progress :Common.CopyProgress) -> (process :Process, pid :Int32, outcome :Outcome, layers :Layers, stages :List(Stage));
  # Builds the root and a process that is blocked before its exec. `pid` is the host's. `process` is null unless outcome is ok.
  # The descriptors of the spec are taken over. `progress` is told only of trees that have to be copied; null: nobody looks.

  exec @2 (containerId :Text, spec :Container.ProcessSpec) -> (process :Process, pid :Int32, outcome :Outcome);
  # A further process in a container that was created before.

  killAll @3 (graceNs :UInt64);
  # SIGTERM to every main process, then, after the grace, SIGKILL to the whole zone (cgroup.kill). Returns when nothing of the zone's processes is left.

  freeze @4 (frozen :Bool);
  usage @5 () -> (usage :Usage);
  shutdown @6 ();                 # killAll without grace, then the agent exits
  exit @7 (containerId :Text) -> (known :Bool, running :Bool, exit :ExitInfo);
  # What became of a container's first process; for a client that comes back after it was killed.

  writableLayer @8 (containerId :Text, target :Text) -> (outcome :Outcome, layer :Common.Descriptor, runUid :UInt32, runGid :UInt32);
  # The fresh layer of the overlay mount at `target`: its directory, readable as long as the descriptor is held, also when the zone is gone.
  # Owners in it are raw host ids; runUid and runGid are the host ids of the container's user. It stands still once killAll returned.
}
