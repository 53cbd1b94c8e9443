@0xd1c5a0f36e2b7a0b;
# The border between rauhad and rauha-plugin-host, the process that runs one plugin whose section of rauha.toml says `isolation = "process"`.
#
# Two things cross it. First, before any RPC, one HostSetup as a framed message on descriptor 3: the process confines itself by it, alone,
# with one thread, before it touches the plugin's file on descriptor 4 (opened and checked by the daemon; never a path). Then the same
# socket speaks RPC; the daemon is the client of PluginHost.
#
# Trust goes one way. The process is trusted until `load` begins: what `confinement` said before that is true. From then on it runs the
# plugin's code and is hostile: the daemon holds every message to a size, every answer to the limits that a plugin in its own process is
# held to as well, and accepts no descriptor from it. Texts are cut and cleaned by the reader.
#
# A call that is running when the process ends fails with an error that says how the process ended.

using Cxx = import "/capnp/c++.capnp";
using Common = import "common.capnp";
using Agent = import "agent.capnp";
$Cxx.namespace("rauha::schema");

struct HostSetup {
  plugin @0 :Text;            # its name, as the daemon read it from the note
  path @1 :Text;              # where the file was found; for messages only
  instance @2 :Text;          # the four texts of rauha_environment
  stateDir @3 :Text;          # only <stateDir>/plugins/<plugin> exists in the process's root, the one place on disk where it can write
  runtimeDir @4 :Text;        # an empty file system in memory, of the process's own
  libexecDir @5 :Text;        # an empty directory: nothing can be executed
  network @6 :Bool;           # false: a network namespace without anything in it, and no sockets but unix
  capabilities @7 :UInt64;    # bit N: capability N is kept; all others leave the bounding set
  read @8 :List(Text);        # absolute paths of the host that it sees, read-only; what does not exist is left out
  memoryBytes @9 :UInt64;     # limit of its data (RLIMIT_DATA); 0: none
}

struct HostReport {
  # Framed messages on the pipe that is descriptor 5, written by the process's first thread, which never runs code of the plugin.
  union {
    refused @0 :Common.Error;  # a layer of the confinement could not be armed; the process ends, the plugin was not touched
    ended @1 :Int32;           # the wait status (wait(2)) of the process that ran the plugin
  }
}

interface PluginHost {
  confinement @0 () -> (layers :List(Text));
  # What was armed, one line each, for people. Asked before `load`.

  load @1 (config :Text, services :HostServices) -> (outcome :Agent.Outcome, plugin :LoadedPlugin);
  # Once. Links the file on descriptor 4, runs its entry, checks its descriptor, makes the instance. `config` is TOML, as for create().

  images @2 () -> (images :PluginImages);
  # Fails unless the plugin was loaded and provides rauha.image/1.

  cancel @3 (call :UInt64);
  # Asks the running call to give up, as CancelToken does; a call that has ended is no error. The call still answers.
}

struct LoadedPlugin {
  name @0 :Text;
  version @1 :Text;
  license @2 :Text;
  provides @3 :List(Text);
}

interface HostServices {
  # What the plugin may call of the daemon. The daemon drops what comes too fast and counts it; nothing here ever waits for anything.
  log @0 (level :Int32, text :Text);                          # RAUHA_LOG_*
  event @1 (event :PluginEvent, droppedBefore :UInt32);       # droppedBefore: events that the process itself had no room for
  violation @2 (text :Text, count :UInt32);
  # Breaches of the contract that only the process could see: `count` since the last report, the latest of them as text.
}

struct PluginEvent {
  severity @0 :UInt32;
  name @1 :Text;
  zoneId @2 :Text;
  message @3 :Text;
  attributes @4 :List(Common.KeyValue);
}

struct PluginCall {
  id @0 :UInt64;            # not 0, never used twice on one connection
  deadlineNs @1 :Int64;     # CLOCK_MONOTONIC, the same clock on both sides; 0: none
  progress @2 :Progress;    # absent: nobody looks
}

interface Progress {
  report @0 (what :Text, done :UInt64, total :UInt64);  # as rauha_host.progress; the process sends only the latest when it falls behind
}

interface PluginImages {
  # rauha.image/1 (sdk/include/rauha/image.h says what each does). Calls may run at once. An answer has the outcome and, if it is `ok`, the
  # images: exactly one for resolve, inspect, importImage and exportImage, any number for list and prune, none for the rest.
  resolve @0 (call :PluginCall, request :PluginImageRequest) -> (answer :PluginImageAnswer);
  release @1 (call :PluginCall, lease :Text) -> (answer :PluginImageAnswer);
  list @2 (call :PluginCall) -> (answer :PluginImageAnswer);
  inspect @3 (call :PluginCall, request :PluginImageRequest) -> (answer :PluginImageAnswer);
  remove @4 (call :PluginCall, reference :Text) -> (answer :PluginImageAnswer);
  importImage @5 (call :PluginCall, request :PluginImageRequest) -> (answer :PluginImageAnswer);
  reconcile @6 (call :PluginCall, leases :List(Text)) -> (answer :PluginImageAnswer);
  prune @7 (call :PluginCall, request :PluginImageRequest) -> (answer :PluginImageAnswer);   # no images when the plugin's table ends before it
  exportImage @8 (call :PluginCall, request :PluginImageRequest, target :Common.Descriptor) -> (answer :PluginImageAnswer);   # a socket
  verify @9 (call :PluginCall, request :PluginImageRequest) -> (answer :PluginImageAnswer);   # checks, no images
}

struct PluginImageRequest {
  reference @0 :Text;
  source @1 :Common.Descriptor;
  # The reference's directory or file on a read-only mount of its own, from which no path leads out; absent: none was given.
  callerUid @2 :UInt32;
  callerGid @3 :UInt32;
  lease @4 :Text;
  name @5 :Text;
  records @6 :List(PluginRecord);
}

struct PluginRecord {
  # rauha_record
  tag @0 :UInt32;
  flags @1 :UInt32;
  number @2 :UInt64;
  text @3 :Text;
}

struct PluginImageAnswer {
  outcome @0 :Agent.Outcome;
  images @1 :List(PluginImage);
  checks @2 :List(PluginImageCheck);
}

struct PluginImageCheck {
  # rauha_image_check
  state @0 :UInt32;
  kind @1 :Text;
  digest @2 :Text;
  path @3 :Text;
  text @4 :Text;
  remedy @5 :Text;
  bytes @6 :UInt64;
  images @7 :List(Text);
}

struct PluginImage {
  reference @0 :Text;
  digest @1 :Text;
  source @2 :Text;
  configJson @3 :Data;
  size @4 :UInt64;
  createdNs @5 :Int64;
  layers @6 :List(PluginLayer);
  mounts @7 :List(PluginMount);
}

struct PluginLayer {
  union {
    path @0 :Text;     # in the plugin's own directory: anything else is refused
    source @1 :Void;   # the very directory of the request
  }
  mapping @2 :UInt32;  # RAUHA_LAYER_ID_*
  digest @3 :Text;
  diffId @4 :Text;
  mediaType @5 :Text;
  size @6 :UInt64;
}

struct PluginMount {
  kind @0 :UInt32;     # RAUHA_MOUNT_*; the source of a bind must be beneath one of HostSetup.read
  flags @1 :UInt32;
  number @2 :UInt64;
  source @3 :Data;
  target @4 :Text;
}
