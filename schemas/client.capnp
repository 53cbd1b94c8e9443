@0xd1c5a0f36e2b7a0a;
# The client services of rauhad, on its Unix socket. `Rauha` is the bootstrap capability.
#
# Every method returns an Outcome first: domain errors are values. RPC exceptions mean a bug, an overload or a lost daemon.
# Peers are authenticated by SO_PEERCRED. Limits per connection: 4 MiB a message from the client, which has 10 s from its first byte to its last,
# and 64 Ki words of unanswered calls. Messages above 16 KiB share 64 MiB, and 16 MiB a uid, until they are handled: one that does not fit waits,
# within the same 10 s. At most 1024 answers that the client has not finished with and capabilities that it has not released, together. A peer
# beyond a limit loses its connection.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Common = import "common.capnp";
using Agent = import "agent.capnp";
using Task = import "task.capnp";
using Zone = import "zone.capnp";
using Image = import "image.capnp";
using Policy = import "policy.capnp";
using Event = import "event.capnp";
using Changes = import "changes.capnp";
$Cxx.namespace("rauha::schema");

struct ServerInfo {
  version @0 :Text;
  instance @1 :Text;      # name in kernel objects
  root @2 :Text;          # --root, or "/"
  pid @3 :Int32;
  uptimeMs @4 :UInt64 $Json.name("uptime_ms");
  zones @5 :UInt32;
}

enum CheckStatus { ok @0; weaker @1; missing @2; }

struct Check {
  name @0 :Text;         # "seccomp", "cgroup_memory", …
  status @1 :CheckStatus;
  detail @2 :Text;       # what was found
  reason @3 :Text;       # why it is not ok; absent when ok
  remedy @4 :Text;       # what to do; absent when ok
}

struct DoctorReport {
  schemaVersion @0 :UInt32 = 1 $Json.name("schema_version");
  kernel @1 :Text;
  cgroupLayout @2 :Text $Json.name("cgroup_layout");
  checks @3 :List(Check);
  server @4 :ServerInfo;
}

struct PluginHealth {
  # How well a plugin kept the contract since the daemon began.
  overruns @0 :UInt64;        # calls that returned late, or not at all
  abandoned @1 :UInt64;       # calls that never seemed to return: their workers were given up
  stuck @2 :UInt64;           # of these, the ones that still have not
  violations @3 :UInt64;      # breaches of the contract
  eventsDropped @4 :UInt64 $Json.name("events_dropped");   # too many, or malformed
  lastViolation @5 :Text $Json.name("last_violation");     # absent: none
  lastOverrun @6 :Text $Json.name("last_overrun");         # absent: none
}

struct PluginInfo {
  name @0 :Text;
  version @1 :Text;
  path @2 :Text;
  kind @3 :Text;                         # "backend", "image", "enforcer", "net"
  interfaces @4 :List(Text);
  abi @5 :Text;                          # "1.0"
  buildId @6 :Text $Json.name("build_id");
  loaded @7 :Bool;
  refusal @8 :Text;                      # why it was refused or is not in use; absent when loaded
  capabilities @9 :List(Text);           # what it can do here: a backend's layers, an image plugin's schemes, an enforcer's state and operations
  isolation @10 :Text;                   # "none": it runs in the daemon; "process": in a process of its own
  pid @11 :Int32;                        # of that process; 0: none runs
  restarts @12 :UInt32;                  # how often that process was started again
  confinement @13 :List(Text);           # what confines that process, as it was armed, one line each
  lastEnd @14 :Text $Json.name("last_end");  # how that process ended last: "ended by SIGSEGV"; absent: never
  health @15 :PluginHealth;              # absent: not loaded
  unsafePlaces @16 :List(Text) $Json.name("unsafe_places");   # accepted only by plugins.allow_unsafe_directories: "/tmp is writable by others"
  pinned @17 :Bool;                      # the configuration pins the file's sha256
}

interface TaskHandle {
  # Dropping it before `wait` resolved cancels the task (unless keepZone: then only the task is ended).
  wait @0 () -> (result :Task.TaskResult);
  cancel @1 (signal :Int32);     # sends the signal, then after the policy's grace kills; status becomes `cancelled`
  resize @2 (rows :UInt16, columns :UInt16);
}

interface ChangeSetReader {
  # A kept change set. It stays readable while the capability lives, also when the task is deleted meanwhile.
  info @0 () -> (set :Changes.ChangeSet, count :UInt64);           # without `changes`; count: how many there are
  changes @1 (first :UInt64, limit :UInt32) -> (changes :List(Changes.Change));   # in order of paths; at most 1000 at once, and 4 MiB
  open @2 (paths :List(Data)) -> (files :List(Common.Descriptor), errors :List(Text));
  # New contents: regular files of the layer, read-only, at most 4 at once. A path that is none has a null capability and its error's text.
}

interface ImagePull {
  # A pull or an export on its way.
  wait @0 () -> (outcome :Agent.Outcome, image :Image.ImageInfo);   # dropping the capability before it resolved cancels the work
}

interface ImageVerify {
  wait @0 () -> (outcome :Agent.Outcome, report :Image.VerifyReport);   # as with ImagePull
}

interface EventStream {
  next @0 () -> (events :List(Event.Event), dropped :UInt64);   # waits for at least one; dropped counts what this stream missed
}

interface Rauha {
  hello @0 (clientVersion :Text) -> (server :ServerInfo);

  sandbox @1 (request :Task.SandboxRequest, stdout :Common.ByteSink, stderr :Common.ByteSink, trace :Bool, progress :Common.CopyProgress,
      imageProgress :Image.ImageProgress) -> (task :TaskHandle, stdin :Common.ByteSink, taskId :Text, zoneId :Text);
  # Returns at once. Sinks may be null: output then only goes into the result. `stdin` accepts bytes from the start and passes them on
  # when the process runs; it is null unless request.stdin. `progress` may be null; it hears only of a repository that has to be copied.
  # The ids are there for whoever loses the daemon before the result.

  createZone @2 (name :Text, policyToml :Text, policySource :Text) -> (outcome :Agent.Outcome, zone :Zone.ZoneInfo);
  listZones @3 () -> (outcome :Agent.Outcome, zones :List(Zone.ZoneInfo));
  showZone @4 (name :Text) -> (outcome :Agent.Outcome, zone :Zone.ZoneInfo, policy :Policy.Policy);   # name or id
  deleteZone @5 (name :Text, force :Bool) -> (outcome :Agent.Outcome);   # conflict while processes run in it beside its init, unless force
  applyPolicy @6 (zone :Text, policyToml :Text, policySource :Text) -> (outcome :Agent.Outcome, zone :Zone.ZoneInfo);
  # What can change on a living zone (resources) changes; anything else is refused by name.

  validatePolicy @7 (policyToml :Text, policySource :Text) -> (outcome :Agent.Outcome, policy :Policy.Policy, warnings :List(Text));
  listImages @8 () -> (outcome :Agent.Outcome, images :List(Image.ImageInfo));
  inspectImage @9 (reference :Text, source :Common.Descriptor) -> (outcome :Agent.Outcome, image :Image.ImageInfo);
  removeImage @10 (reference :Text) -> (outcome :Agent.Outcome);
  importImage @11 (reference :Text, source :Common.Descriptor, name :Text) -> (outcome :Agent.Outcome, image :Image.ImageInfo);
  listPlugins @12 () -> (plugins :List(PluginInfo));
  doctor @13 () -> (report :DoctorReport);
  events @14 (zoneId :Text) -> (stream :EventStream);   # from now on; zoneId absent: all
  shutdown @15 (force :Bool) -> (outcome :Agent.Outcome);   # root only; refuses while tasks run unless force

  # --- finished tasks and their change sets. A caller sees its own tasks, root all; another's is notFound.
  listTasks @16 (limit :UInt32) -> (outcome :Agent.Outcome, tasks :List(Changes.TaskSummary));   # newest first; 0: as many as there are
  showTask @17 (taskId :Text) -> (outcome :Agent.Outcome, result :Task.TaskResult);
  # An id, a unique beginning of one, or "last": the caller's newest.
  deleteTask @18 (taskId :Text) -> (outcome :Agent.Outcome, taskId :Text);
  # Record and change set, and which task that was; conflict while it runs.
  pruneTasks @19 (olderThanMs :UInt64, maxBytes :UInt64, dryRun :Bool)
      -> (outcome :Agent.Outcome, tasks :List(Changes.TaskSummary), freedBytes :UInt64);
  # Change sets, with the tasks' records, that are older than olderThanMs (0: whatever age) or beyond maxBytes together, oldest first (0:
  # no limit by size). With both 0 the configuration's retention is applied.
  openChanges @20 (taskId :Text) -> (outcome :Agent.Outcome, changes :ChangeSetReader, taskId :Text);

  pullImage @21 (request :Image.ImagePullRequest, progress :Image.ImageProgress) -> (pull :ImagePull);
  # Asks the registry that the name means, whatever the store has under it. Returns at once. `progress` may be null.
  pruneImages @22 (all :Bool) -> (outcome :Agent.Outcome, images :List(Image.ImageInfo));
  # Removes layers and half-fetched files that nothing needs; `all`: also every image that no zone uses. Returns the images that went.

  exportImage @23 (reference :Text, tag :Text, target :Common.Descriptor, progress :Image.ImageProgress) -> (export :ImagePull);
  # Sends a stored image as an OCI archive (a plain tar of an OCI layout) to `target`, a connected stream socket of which the client reads
  # the other end; what it makes of the bytes it does with its own rights. When `wait` is ok, everything is in the socket. What came of an
  # export that failed is worthless. tag: the image's annotation org.opencontainers.image.ref.name; absent: the tag of its name.
  verifyImages @24 (references :List(Text), progress :Image.ImageProgress) -> (verify :ImageVerify);
  # Reads again what the store has of these images; none given: everything.
}
