@0xd1c5a0f36e2b7a08;
# A sandbox task: the request, and the one result document that `rauha sandbox --json` prints.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Common = import "common.capnp";
using Agent = import "agent.capnp";
using Event = import "event.capnp";
using Image = import "image.capnp";
using Changes = import "changes.capnp";
$Cxx.namespace("rauha::schema");

enum RepoMode {
  none @0;     # no repository given
  ro @1;       # seen at /workspace, not writable
  rw @2;       # writes go through to the host's tree
  overlay @3;  # writes go to a layer of the task's own; the host's tree stays untouched (schemas/changes.capnp)
}

enum TaskStatus {
  succeeded @0;       # exit code 0
  failed @1;          # exit code other than 0
  timedOut @2 $Json.name("timed_out");
  outOfMemory @3 $Json.name("out_of_memory");
  killed @4;          # by a signal that Rauha did not send
  cancelled @5;       # by the client (signal, lost connection, cancel call)
  runtimeError @6 $Json.name("runtime_error");   # Rauha could not run it: see `error`
}

struct SandboxRequest {
  image @0 :Text;                  # reference: "host", "oci:DIR[:tag]", "oci-archive:FILE", "docker-archive:FILE", "dir:PATH" or an imported name
  name @1 :Text;                   # of the zone; absent: made from the task id. Unique in the instance while the zone lives.
  policyToml @2 :Text;             # text of the policy file; absent: the built-in `task`
  policySource @3 :Text;           # its path, for messages
  repoMode @4 :RepoMode;
  repo @5 :Common.Descriptor;      # opened by the client with its user's rights; absent with repoMode none
  repoPath @6 :Text;               # for messages only
  workdir @7 :Text;                # absent: /workspace with a repository, else the image's
  env @8 :List(Text);              # "K=V", on top of the image's
  timeoutMs @9 :UInt64;            # 0: the policy's
  keepZone @10 :Bool;
  argv @11 :List(Text);
  terminal @12 :Bool;
  rows @13 :UInt16;
  columns @14 :UInt16;
  imageSource @15 :Common.Descriptor;  # for oci, archives, dir: opened by the client with its user's rights
  stdin @16 :Bool;                 # the client will stream standard input
  user @17 :Text;                  # absent: the image's
  allowDegraded @18 :List(Text);   # layers of the policy's `require` that may be missing after all; reported in the posture
  platform @20 :Text;              # of an image that is fetched: "linux/arm64"; absent: this machine's
  pull @21 :Image.PullPolicy;
  imageCredentials @22 :Text;      # as ImagePullRequest.credentials
  from @19 :Text;                  # task whose change set this one goes on from; repoMode overlay, and the same repository
}

struct OutputStats {
  bytes @0 :UInt64;       # produced by the task
  kept @1 :UInt64;        # of these, in the result
  truncated @2 :Bool;
}

struct LayerPosture {
  name @0 :Text;          # as in Policy.require
  armed @1 :Bool;
  detail @2 :Text;        # "abi 7", "v1 hybrid", "none: no enforcer plugin"
  weaker @3 :Bool;        # armed is false or partial although the best tool would have it
}

struct PluginInUse {
  # A plugin that the daemon works with. Which one gave the image: the scheme of the result's `image` and `rauha plugin list`.
  name @0 :Text;
  version @1 :Text;
  kind @2 :Text;                                        # "backend", "image", "enforcer"
  isolation @3 :Text;                                   # "none": it runs in the daemon, with its rights; "process": in a process of its own
  path @4 :Text;                                        # its file; absent: in the directory of the installation
}

struct Posture {
  # What really protected this run. `weaker` layers are also printed as one line on standard error.
  layers @0 :List(LayerPosture);
  cgroupLayout @1 :Text $Json.name("cgroup_layout");    # "v2" or "hybrid"
  network @2 :Text;                                     # "isolated", "host"
  enforcer @3 :Text;                                    # "none", or the plugin's name and state: "counter: attached, audit only"
  userNamespace @4 :Text $Json.name("user_namespace");  # "private 1879048192+65536" or "host"
  seccomp @5 :Text;
  landlockAbi @6 :UInt32 $Json.name("landlock_abi");
  capabilities @7 :List(Text);
  backend @8 :Text;
  degraded @9 :List(Text);                              # required layers that an explicit option waived
  kernel @10 :Text;
  unsafePlugins @11 :List(Text) $Json.name("unsafe_plugins");   # loaded from places that others than root control: "backend-linux: /tmp is writable by others"; absent: none
  plugins @12 :List(PluginInUse);
}

struct EnforcementCounters {
  # What the enforcer counted in the task's zone, one for each operation.
  operation @0 :Text;                                   # "file_open", "exec", "mmap_exec", "ptrace", "signal", "cgroup_attach", "capability", "socket", "mount"
  allowed @1 :UInt64;
  denied @2 :UInt64;
  wouldDeny @3 :UInt64 $Json.name("would_deny");        # let pass by an enforcer that only counts
  errors @4 :UInt64;                                    # failures inside the enforcer; each was a denial
  lost @5 :UInt64;                                      # events that could not be recorded
}

struct TaskResult {
  # The JSON document always has the same keys: one whose value is absent is null (a list: empty). Only `error`, `posture`, `usage`, `changes`,
  # `stages`, `enforcement_counters`, `stdout_base64` and `stderr_base64` are left out when absent.
  schemaVersion @0 :UInt32 = 1 $Json.name("schema_version");
  taskId @1 :Text $Json.name("task_id");
  zoneId @2 :Text $Json.name("zone_id");
  command @3 :List(Text);
  status @4 :TaskStatus;
  exitCode @5 :Common.OptionalInt $Json.name("exit_code");
  signal @6 :Common.OptionalInt;                        # number, when a signal ended it
  durationMs @7 :UInt64 $Json.name("duration_ms");
  startedAt @8 :Text $Json.name("started_at");
  finishedAt @9 :Text $Json.name("finished_at");
  stdout @10 :Text;
  stderr @11 :Text;
  stdoutBase64 @12 :Text $Json.name("stdout_base64");   # only when stdout was not UTF-8
  stderrBase64 @13 :Text $Json.name("stderr_base64");
  stdoutStats @14 :OutputStats $Json.name("stdout_stats");
  stderrStats @15 :OutputStats $Json.name("stderr_stats");
  events @16 :List(Event.Event);
  enforcementEvents @17 :List(Event.Event) $Json.name("enforcement_events");
  eventCounters @18 :Event.EventCounters $Json.name("event_counters");
  error @19 :Common.Error;                              # only with runtime_error
  posture @20 :Posture;                                 # absent when nothing was armed
  usage @21 :Agent.Usage;                               # absent when nothing ran
  image @22 :Text;                                      # reference
  imageDigest @23 :Text $Json.name("image_digest");
  policy @24 :Text;                                     # name
  policyDigest @25 :Text $Json.name("policy_digest");
  zoneName @26 :Text $Json.name("zone_name");
  zoneKept @27 :Bool $Json.name("zone_kept");
  stages @28 :List(Agent.Stage);                        # only with the client option `trace`
  repoMode @29 :RepoMode $Json.name("repo_mode");
  changes @30 :Changes.ChangeSet;                       # absent without a repository in overlay mode, and when nothing ran
  enforcementCounters @32 :List(EnforcementCounters) $Json.name("enforcement_counters");   # absent without an enforcer
  notes @31 :List(Text);                                # one line for each thing that the caller should know ("--timeout 2h was cut to the policy's 1h", sockets in the repository)
}
