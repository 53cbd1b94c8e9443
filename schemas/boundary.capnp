@0xd1c5a0f36e2b7a06;
# What backend-linux hands to the shim that it starts: the finished decisions about one zone's boundary.
# Private between the two; both are built from one tree. Serialized (unpacked); the shim, started before all is known, reads it from a socket, its descriptor 3.
# Descriptor 4 of the shim is its end of the agent protocol's socket; descriptor 5 a pipe on which it writes one Outcome message
# when the boundary stands (or failed), and one more for a second Boundary message if there is to be one, then closes it.

using Cxx = import "/capnp/c++.capnp";
using Policy = import "policy.capnp";
$Cxx.namespace("rauha::schema");

struct CgroupPath {
  controller @0 :Text;   # "" for the v2 tree, else "memory", "pids", "cpu", "cpuacct", "blkio", …
  path @1 :Text;         # absolute directory of this zone's group; exists, limits are set
}

struct Boundary {
  zoneId @0 :Text;
  hostname @1 :Text;
  ephemeral @2 :Bool;             # kill the zone when the client's connection is lost
  userNamespace @3 :Bool;
  hostIdBase @4 :UInt32;          # ids 0..65535 of the zone are hostIdBase.. on the host
  networkMode @5 :Policy.NetworkMode;
  cgroups @6 :List(CgroupPath);
  seccompProgram @7 :Data;        # array of struct sock_filter; empty: none (never for other than privileged zones)
  seccompNoSuid @8 :Data;         # further program that refuses set-user-ID/set-group-ID mode bits; armed when the repository is writable
  capabilities @9 :List(UInt8);   # numbers of the bounding set
  openFiles @10 :UInt32;
  coreBytes @11 :UInt64;
  landlock @12 :Bool;             # arm it as far as the kernel can
  socketPath @13 :Text;           # where the shim listens for clients that come back; absent for ephemeral zones
  agentVersion @14 :Text;
  memoryBytes @15 :UInt64;        # for telling an out-of-memory end from other kills on v1
  instance @16 :Text;             # name of the Rauha instance, part of kernel object names
  prepared @17 :Bool;             # build it and report; then comes a second message, the same but for this, the fields of the policy
                                  # (seccompProgram, seccompNoSuid, capabilities, openFiles, coreBytes, memoryBytes) and a second report
}
