@0xd1c5a0f36e2b7a04;
# What the agent needs to build a container's root and start a process in it. Values only: made by core, executed by the agent.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
using Common = import "common.capnp";
using Policy = import "policy.capnp";
$Cxx.namespace("rauha::schema");

enum IdMapping {
  none @0;       # owners are the host's: what only root may read stays closed to the zone
  zone @1;       # on-disk id N is the zone's id N (image layers, scratch)
  owner @2;      # hostUid/hostGid are the zone's run user, every other id is unmapped (the repository)
}

struct Layer {
  # One read-only directory of the root's overlay, lowest first.
  union {
    path @0 :Text;        # absolute, on the agent's side of the border
    descriptor @2 :UInt32; # index into ContainerSpec's descriptors
  }
  mapping @1 :IdMapping;
  hostUid @3 :UInt32;     # mapping = owner
  hostGid @4 :UInt32;
}

struct Mount {
  target @0 :Text;        # absolute, in the zone; made if missing, resolved beneath the root, never through a link that leaves it
  union {
    bindPath @1 :Text;    # of the agent's side
    bindDescriptor @2 :UInt32;  # index into ContainerSpec's descriptors
    tmpfs @3 :UInt64;     # size in bytes
    symlink @4 :Text;     # not a mount: a link with this text
    file @5 :Data;        # not a mount: a small fresh file with this content, mode 0644
    directory @10 :UInt16; # not a mount: a fresh directory with these mode bits
  }
  readOnly @6 :Bool;
  mapping @7 :IdMapping;
  hostUid @8 :UInt32;     # mapping = owner
  hostGid @9 :UInt32;
  optional @11 :Bool;     # a bind whose source does not exist is left out in silence
  exec @12 :Bool;         # false: noexec. nosuid and nodev are always set on mounts of this list.

  overlay @13 :Bool;
  # With bindDescriptor of a directory: the source is the lowest layer of an overlay and is never written; what the zone writes goes to a
  # fresh layer on the scratch, as large as scratchBytes, which Agent.writableLayer gives out afterwards. Not with readOnly.
  lower @14 :List(Layer);      # overlay: further read-only layers above the source, lowest first
}

struct RootfsPlan {
  union {
    overlay @0 :List(Layer);   # layers below, a fresh writable layer (or none, with readOnlyRoot) above
    empty @1 :Void;            # a fresh tmpfs; everything comes from `mounts` (image "host")
  }
  readOnlyRoot @2 :Bool;
  scratch @3 :Policy.ScratchKind;
  scratchBytes @4 :UInt64;
  scratchDirectory @5 :Text;   # where the agent keeps the zone's disk scratch; removed by whoever made the zone
  tmpBytes @6 :UInt64;         # /tmp and /dev/shm, each
  mounts @7 :List(Mount);      # in order, after the root, /proc, /sys and /dev
  masked @8 :List(Text);       # on top of the default masks
  readOnly @9 :List(Text);     # on top of the default read-only paths
  devices @10 :List(Policy.Device);
}

struct ProcessSpec {
  argv @0 :List(Text);         # argv[0] is looked up in the zone's PATH if it has no slash
  env @1 :List(Text);          # complete: nothing is inherited
  workdir @2 :Text;            # absolute
  workdirRequired @3 :Bool;    # false: made if missing
  user @4 :Text;               # as ImageConfig.user; absent: root of the zone
  terminal @5 :Bool;
  rows @6 :UInt16;
  columns @7 :UInt16;
  stdin @8 :Bool;              # false: /dev/null
}

struct ContainerSpec {
  id @0 :Text;
  rootfs @1 :RootfsPlan;
  process @2 :ProcessSpec;
  descriptors @3 :List(Common.Descriptor);  # what Mount.bindDescriptor names; a list so that it may be empty
}
