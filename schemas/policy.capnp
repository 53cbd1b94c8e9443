@0xd1c5a0f36e2b7a02;
# A policy: what a zone may do. Written by people as TOML (see policies/), validated by core/policy, then only read.
# Deny wins. A key, unit or name that is not known is refused, never ignored.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
$Cxx.namespace("rauha::schema");

enum ZoneType {
  task @0;        # one agent task: isolated network, tight limits
  standard @1;    # a long-lived workload
  strict @2;      # as task; read-only root and every layer required
  privileged @3;  # zone root IS host root: no user namespace. For trusted workloads only.
}

enum NetworkMode {
  isolated @0;  # loopback only
  bridged @1;   # own address behind a bridge; needs a network plugin
  host @2;      # the host's network; privileged zones only
}

enum ScratchKind {
  memory @0;  # tmpfs, counted in the zone's memory limit
  disk @1;    # a file system of fixed size on the state disk
}

enum UserNamespace {
  private @0;  # host-unique id range; zone root is nobody on the host
  host @1;     # privileged zones only
}

struct Filesystem {
  readOnlyRoot @0 :Bool $Json.name("read_only_root");  # the image's tree is not writable (scratch, /tmp, /dev/shm and the repository in rw mode still are)
  scratch @1 :ScratchKind;                             # where the task's writes to the root go
  scratchBytes @2 :UInt64 $Json.name("scratch_bytes"); # its size; exceeding it is ENOSPC for the task. > 0.
  tmpBytes @3 :UInt64 $Json.name("tmp_bytes");         # size of /tmp and of /dev/shm, each, memory
  masked @4 :List(Text);                               # further paths hidden in the zone, absolute
  readOnly @5 :List(Text) $Json.name("read_only");     # further paths that are read-only in the zone, absolute
}

struct EgressRule {
  cidr @0 :Text;               # "10.0.0.0/8" or "2001:db8::/32"
  ports @1 :List(UInt16);      # empty: every port
  protocol @2 :Text;           # "tcp", "udp" or "any"
}

struct IngressRule {
  port @0 :UInt16;
  protocol @1 :Text;           # "tcp" or "udp"
  from @2 :Text;               # CIDR; absent: everywhere
}

struct Network {
  mode @0 :NetworkMode;
  egress @1 :List(EgressRule);     # bridged only; empty: nothing is reachable
  ingress @2 :List(IngressRule);   # bridged only
  zones @3 :List(Text);            # names of zones that this zone may talk to, bridged only; both sides must name the other
}

struct Resources {
  # 0 means "no limit" only where it says so.
  cpuMillis @0 :UInt32 $Json.name("cpu_millis");       # 1000 = one core; 0: no limit
  cpuWeight @1 :UInt32 $Json.name("cpu_weight");       # 1..10000, 100 is the kernel's default
  memoryBytes @2 :UInt64 $Json.name("memory_bytes");   # swap is always off; exceeding it ends the whole task as out_of_memory; 0: no limit
  pids @3 :UInt32;                                     # processes and threads, zone init included; 0: no limit
  openFiles @4 :UInt32 $Json.name("open_files");       # RLIMIT_NOFILE, soft and hard
  ioWeight @5 :UInt32 $Json.name("io_weight");         # 1..10000, 100 default
  ioReadBps @6 :UInt64 $Json.name("io_read_bps");      # bytes per second on the state disk; 0: no limit
  ioWriteBps @7 :UInt64 $Json.name("io_write_bps");    # on cgroup v1 buffered writes escape it: posture says "partial"
  timeoutMs @8 :UInt64 $Json.name("timeout_ms");       # wall clock of one task; 0: none. --timeout can only shorten it.
  stopGraceMs @9 :UInt64 $Json.name("stop_grace_ms");  # between SIGTERM (or the image's stop signal) and SIGKILL
  outputBytes @10 :UInt64 $Json.name("output_bytes");  # kept of stdout and of stderr, each (first bytes); at most 4 MiB
  coreBytes @11 :UInt64 $Json.name("core_bytes");      # RLIMIT_CORE; 0: no core dumps
}

struct Syscalls {
  deny @0 :List(Text);   # on top of the default allow-list; fails with EPERM
  allow @1 :List(Text);  # adds to the default allow-list; refused for names that the default list never admits
}

struct Device {
  path @0 :Text;    # in the host and in the zone, below /dev
  access @1 :Text;  # letters of "rwm"
}

struct Images {
  # Which images a task may be run from. Asked of the image plugin before anything is fetched; one that does not know the question refuses.
  requireDigest @0 :Bool $Json.name("require_digest");  # only by digest: NAME@sha256:…, oci:DIR@sha256:…
  registries @1 :List(Text);  # only from these: "docker.io", "registry.example:5000"; "host", "dir", "oci", "oci-archive", "docker-archive" for
                              # what is no registry's. Empty: from everywhere.
}

struct Policy {
  name @0 :Text;
  type @1 :ZoneType;
  require @2 :List(Text);
  # Layers without which the run is refused: user_namespace, seccomp, landlock, capabilities, cgroup_cpu, cgroup_memory,
  # cgroup_pids, cgroup_io, network, enforcer.
  filesystem @3 :Filesystem;
  network @4 :Network;
  resources @5 :Resources;
  capabilities @6 :List(Text);   # lower case without "cap_" ("chown"); kept in bounding, permitted, effective, inheritable; not ambient unless the user is not root
  syscalls @7 :Syscalls;
  devices @8 :List(Device);      # beyond the minimal /dev
  userNamespace @9 :UserNamespace $Json.name("user_namespace");
  digest @10 :Text;              # "sha256:…" of the TOML bytes; set by the validator
  images @12 :Images;
  source @11 :Text;              # path that the client named, for messages; absent for built-in policies
}
