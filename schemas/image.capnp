@0xd1c5a0f36e2b7a03;
# Images: where a zone's root file system comes from.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
$Cxx.namespace("rauha::schema");

struct ImageConfig {
  # The part of the OCI image configuration that Rauha acts on (image-spec, config.md).
  entrypoint @0 :List(Text);
  cmd @1 :List(Text);
  env @2 :List(Text);                                # "K=V"
  workdir @3 :Text;                                  # absent: "/"
  user @4 :Text;                                     # "name", "uid", "uid:gid"; resolved inside the image; absent: root
  stopSignal @5 :Text $Json.name("stop_signal");     # absent: SIGTERM
  volumes @6 :List(Text);
  labels @7 :List(import "common.capnp".KeyValue);
  architecture @8 :Text;
  os @9 :Text;
  variant @10 :Text;                                 # of the architecture: "v8"
}

struct ImageInfo {
  reference @0 :Text;       # as the user wrote it, or the name under which it was imported
  digest @1 :Text;          # of the manifest: "sha256:…"; for `dir:` and `host` absent: their content is not hashed
  sizeBytes @2 :UInt64 $Json.name("size_bytes");   # unpacked, shared layers counted once per image
  createdAt @3 :Text $Json.name("created_at");     # when it entered the store
  layers @4 :List(LayerInfo);
  config @5 :ImageConfig;
  source @6 :Text;          # "oci", "oci-archive", "docker-archive", "tar", "dir", "host", "registry"
  platform @7 :Text;        # "linux/amd64", "linux/arm/v7"; absent: the image does not say
  builtAt @8 :Text $Json.name("built_at");   # as the image says; absent: it does not
  history @9 :List(HistoryEntry);            # oldest first; only of inspectImage
}

struct HistoryEntry {
  # One step of how the image was built, as the image says. Nothing checks it.
  createdAt @0 :Text $Json.name("created_at");
  createdBy @1 :Text $Json.name("created_by");     # the command
  author @2 :Text;
  comment @3 :Text;
  emptyLayer @4 :Bool $Json.name("empty_layer");   # it made no layer
  diffId @5 :Text $Json.name("diff_id");           # of the layer that it made; absent: none, or the image's history does not fit its layers
  sizeBytes @6 :UInt64 $Json.name("size_bytes");   # of that layer's blob
}

enum CheckState {
  good @0;
  damaged @1;
  missing @2;
  unknown @3;   # it could not be checked; `text` says why
}

struct ImageCheck {
  # One thing of the store that was read again.
  state @0 :CheckState;
  kind @1 :Text;        # "manifest", "configuration", "blob", "layer", "record"
  digest @2 :Text;      # what it should be; absent: it has none
  path @3 :Text;
  text @4 :Text;        # what is wrong; absent when good
  remedy @5 :Text;
  sizeBytes @6 :UInt64 $Json.name("size_bytes");   # that were read
  images @7 :List(Text);                           # that need it; empty: none
}

struct VerifyReport {
  schemaVersion @0 :UInt32 = 1 $Json.name("schema_version");
  checks @1 :List(ImageCheck);    # what is not good comes first
  good @2 :UInt32;
  damaged @3 :UInt32;
  missing @4 :UInt32;
  unknown @5 :UInt32;
  sizeBytes @6 :UInt64 $Json.name("size_bytes");
}

enum PullPolicy {
  # When a name is looked for outside of the store.
  missing @0;  # only when the store does not have it
  always @1;   # each time: the name may mean another image by now; what the store has of it is not fetched again
  never @2;
}

struct ImagePullRequest {
  reference @0 :Text;
  platform @1 :Text;     # "linux/arm64", "linux/arm/v7"; absent: this machine's
  credentials @2 :Text;
  # What the client found for whom the reference names, with its user's rights; opaque to the daemon, which hands it to the image plugin
  # and keeps it nowhere. JSON: {"registry": …, "username": …, "password": …} or {"registry": …, "identity_token": …}. Absent: none.
}

struct ImageProgressItem {
  what @0 :Text;    # "layer sha256:…"; "notice: …" is a line for people, with neither done nor total
  done @1 :UInt64;  # bytes
  total @2 :UInt64; # 0: unknown
}

interface ImageProgress {
  report @0 (items :List(ImageProgressItem));  # the latest of each; the next comes after the answer
}

struct LayerInfo {
  digest @0 :Text;                                    # of the blob as stored
  diffId @1 :Text $Json.name("diff_id");              # of the uncompressed tar
  mediaType @2 :Text $Json.name("media_type");
  sizeBytes @3 :UInt64 $Json.name("size_bytes");      # of the blob
}
