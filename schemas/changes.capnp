@0xd1c5a0f36e2b7a0c;
# What a task did to a repository that it saw in overlay mode: the list of changes, and the layer that holds the new content.
#
# The host's tree is the base: it is never written while the task runs. Whatever the task wrote went into a layer of its own. When every
# process of the zone is gone, core compares that layer with the base, copies it into the state directory and describes it here. A change
# set is complete by itself: that of a follow-up (`--from`) describes everything since the host's tree, its predecessors' changes included.
#
# Paths are relative to the repository's top, without "./", with "/" between components. They are bytes as the kernel gave them: a path that
# is not UTF-8 has U+FFFD in `path` and its exact bytes in `pathBytes`. Nothing in a path is trusted: whoever opens one does so beneath the
# tree and through no symbolic link.
#
# Ids are those of the host: the zone's run user is the tree's owner, every other id of the zone keeps its number.

using Cxx = import "/capnp/c++.capnp";
using Json = import "/capnp/compat/json.capnp";
$Cxx.namespace("rauha::schema");

enum ChangeKind {
  added @0;
  modified @1;                                  # same type; `fields` says what differs
  deleted @2;
  typeChanged @3 $Json.name("type_changed");    # a file became a directory, a link a file, …
  renamed @4;                                   # a regular file or symbolic link, same content: `from` is gone, `path` is new
}

enum FileType {
  none @0;         # the side does not exist
  regular @1;
  directory @2;
  symlink @3;
  fifo @4;
  socket @5;       # named, never carried over
  characterDevice @6 $Json.name("character_device");
  blockDevice @7 $Json.name("block_device");
}

struct FileState {
  # One side of a change. Everything is as lstat says; 0 and absent for type `none`.
  type @0 :FileType;
  size @1 :UInt64;           # regular: bytes; symlink: length of its text; else 0
  mode @2 :UInt16;           # the twelve permission bits
  uid @3 :UInt32;
  gid @4 :UInt32;
  mtimeNs @5 :Int64 $Json.name("mtime_ns");   # CLOCK_REALTIME
  digest @6 :Text;           # regular: "sha256:…" of the content; absent: not computed (deleted files that nothing is compared with)
  target @7 :Text;           # symlink: its text, lossy
  targetBytes @8 :Data $Json.name("target_bytes");   # only when it is not UTF-8
  xattrs @9 :List(Xattr);
  # user.*, security.capability, and access control lists as system.posix_acl_access and …_default (acl(5)), with the host's ids in them. A list
  # that names somebody without an id in the zone, or that the host's file had for others than the tree's owner, is left as the host has it; a note names the path. Sorted by name.
  inode @10 :UInt64;         # of the base side, with ctimeNs: how apply sees that the host's file is still the one that was looked at
  ctimeNs @11 :Int64 $Json.name("ctime_ns");
  entries @12 :Text;
  # An index of git (".git/index", of a submodule, of a worktree) that has other content on the two sides: "sha256:…" of what is staged in it,
  # without what git only remembers about the files (core/base/git_index.h). Two with the same are the same to a person: one was refreshed by a
  # look. Old side: as it was when the task began. Absent: nothing is known, and only equal bytes are equal.
}

struct Xattr {
  name @0 :Text;
  value @1 :Data;
  nameBytes @2 :Data $Json.name("name_bytes");       # only when it is not UTF-8
}

struct Change {
  path @0 :Text;
  pathBytes @1 :Data $Json.name("path_bytes");   # only when path is not UTF-8
  kind @2 :ChangeKind;
  fields @3 :List(Text);
  # For modified, typeChanged, renamed: any of "content", "type", "mode", "owner", "xattrs", "target", "mtime". "mtime" alone is noise.
  old @4 :FileState;
  new @5 :FileState;
  from @6 :Text;                                 # renamed: where it was
  fromBytes @7 :Data $Json.name("from_bytes");
  noise @8 :Text;
  # Absent: a change that a reviewer wants to see. Else the group it belongs to: ".git/index", "__pycache__", ".pytest_cache", "times", …
  # Noise is listed and counted like everything else; it is only shown as one line. What of it is a cache that tools load as code ("__pycache__",
  # "*.pyc", ".ccache", "node_modules/.cache", …; not ".git/index", "times", ".coverage") is applied only when it is named.
  protected @9 :Text;
  # Absent: nothing special. Else why this path can run code on the host ("git hook", "git configuration", "editor settings",
  # "continuous integration", "set-user-ID", "build file", …). Applying it needs --include-protected.
  binary @10 :Bool;                              # the new (deleted: the old) content has a NUL byte within the first 8000 bytes
  hostChanged @11 :Bool $Json.name("host_changed");   # the host's file at `path` (or `from`) changed while the task ran
}

struct ChangeTotals {
  # Exact, whatever was cut from the list. Noise counts here too, and once more in its own group.
  added @0 :UInt64;
  modified @1 :UInt64;
  deleted @2 :UInt64;
  typeChanged @3 :UInt64 $Json.name("type_changed");
  renamed @4 :UInt64;
  addedBytes @5 :UInt64 $Json.name("added_bytes");       # of regular files that are new or have new content
  deletedBytes @6 :UInt64 $Json.name("deleted_bytes");   # of regular files that are gone or had other content
  protected @7 :UInt64;
  noise @8 :UInt64;
}

struct NoiseGroup {
  name @0 :Text;
  changes @1 :UInt64;
  bytes @2 :UInt64;
}

enum HostTree {
  notChecked @0 $Json.name("not_checked");   # too large to be looked at within the limit; `hostNote` says how far it was
  unchanged @1;
  changed @2;                                # something in it has a change time after the task began
}

struct ChangeSet {
  # As in the result, where `changes` holds the first ones (noise last) up to a limit of number and of bytes, and as kept, where it holds all.
  totals @0 :ChangeTotals;
  changes @1 :List(Change);
  truncated @2 :Bool;                            # `changes` is not all of them; `totals` is
  noise @3 :List(NoiseGroup);
  hostTree @4 :HostTree $Json.name("host_tree");
  hostChanges @5 :List(Text) $Json.name("host_changes");   # the first of them, lossy
  hostNote @6 :Text $Json.name("host_note");
  kept @7 :Bool;                                 # diff and apply can use it; false: `keptNote` says why not
  keptNote @8 :Text $Json.name("kept_note");
  base @9 :BaseTree;
  from @10 :Text;                                # the task that this one went on from; absent: the host's tree
  notes @11 :List(Text);                         # one line for each thing that is weaker than asked ("the base was copied: …")
}

struct BaseTree {
  # Which tree it was. Apply refuses another one.
  path @0 :Text;                                 # as the client opened it, absolute, lossy
  device @1 :UInt64;
  inode @2 :UInt64;
  uid @3 :UInt32;                                # the tree's owner: whom the zone's run user is
  gid @4 :UInt32;
  startedNs @5 :Int64 $Json.name("started_ns");  # CLOCK_REALTIME, before the task's first instruction
  pathBytes @6 :Data $Json.name("path_bytes");
}

struct TaskSummary {
  # One line of `rauha task list`.
  taskId @0 :Text $Json.name("task_id");
  status @1 :Text;                               # as TaskStatus in JSON; "running" while it runs
  command @2 :List(Text);                        # the first words
  image @3 :Text;
  createdAt @4 :Text $Json.name("created_at");
  finishedAt @5 :Text $Json.name("finished_at"); # absent while it runs
  ownerUid @6 :UInt32 $Json.name("owner_uid");
  changes @7 :ChangeTotals;                      # absent: no change set
  kept @8 :Bool;                                 # its change set is there
  keptBytes @9 :UInt64 $Json.name("kept_bytes"); # on disk
  repoPath @10 :Text $Json.name("repo_path");
  from @11 :Text;
}
