@0xd1c5a0f36e2b7a01;
# Values shared by all schemas: errors, key/value pairs, byte streams, descriptors.
#
# Conventions of every schema in this folder
#   * Sizes are bytes, durations are nanoseconds in RPC and milliseconds where the name ends in "Ms".
#   * Times are UTC; as text they are RFC 3339 with milliseconds ("2026-01-31T12:00:00.000Z").
#   * A null pointer (text, list, struct) means "absent"; what absence means is said at the field.
#   * JSON names are snake_case through $Json.name. 64-bit integers are JSON numbers.
#   * Fields are only appended. A reader refuses an enumerant that it does not know.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
$Cxx.namespace("rauha::schema");

enum ErrorCode {
  # What the *caller may do* about it. Same numbers as rauha_status of sdk/include/rauha/plugin.h.
  none @0;
  invalid @1;      # the request is wrong: fix it
  notFound @2 $Json.name("not_found");
  exists @3;       # the name is taken
  unsupported @4;  # this machine, version or plugin cannot
  denied @5;       # the caller or the policy does not allow it
  busy @6;         # try again later
  limit @7;        # a limit was reached
  cancelled @8;
  deadline @9;
  io @10;          # the operating system failed
  conflict @11;    # the object is in another state
  corrupt @12;     # data does not verify
  internal @13;    # a bug
}

struct Error {
  # One line that says what failed, on which object, why; the remedy stands apart.
  class @0 :Text;   # who refuses: usage, policy, image, repository, zone, backend, enforcer, network, plugin, command, store, daemon, task
  code @1 :ErrorCode;
  text @2 :Text;    # lower case, one line, names the object and both sides of a mismatch
  object @3 :Text;  # the object alone (a path, a name, a key), for machines; absent when there is none
  hint @4 :Text;    # what to do about it; absent when nothing can be said
}

struct KeyValue {
  key @0 :Text;
  value @1 :Text;
}

struct OptionalInt {
  # JSON: a number, or null.
  union {
    none @0 :Void;
    value @1 :Int64;
  }
}

interface ByteSink {
  # A stream of bytes. The receiver's return of `write` is the flow control.
  write @0 (chunk :Data) -> stream;  # at most 64 KiB a chunk
  end @1 ();                         # no more bytes; dropping the capability without `end` means "aborted"
}

interface CopyProgress {
  # How far the copy of a repository is that could not be mounted. The first report comes before the first file, the last one is `done`;
  # between them a few a second. Answers are not waited for.
  report @0 (files :UInt64, bytes :UInt64, done :Bool);
}

interface Descriptor {
  # An open file descriptor, passed beside the message (SCM_RIGHTS). Unix sockets only.
}
