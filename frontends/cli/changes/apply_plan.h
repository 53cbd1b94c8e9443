#pragma once
// What applying a change set to a tree would do, decided before anything is written: each change gets a verdict by comparing the host's
// file with what the task saw and with what it left.
//
// A host's file counts as unchanged when its type and content are those that the task saw (inode and change time, else size and SHA-256);
// when it changed while the task ran, the task may have seen another one, and it counts as changed;
// as applied already when content and metadata are those that the task left, so that an apply which was interrupted can be run again.
// What a task put into a cache (core/base/cache_paths.h) is left out, unless a path inside of it was named: nobody reviews it, and tools
// run it. What it removed from one goes.
//
// Reads only; everything it reads is reached through Tree.

#include <string>
#include <vector>

#include "frontends/cli/changes/change.h"
#include "frontends/cli/changes/tree.h"

namespace rauha::cli {

struct ApplyOptions {
  std::vector<std::string> paths;  // of the tree; empty: everything
  bool dryRun = false, force = false, includeProtected = false, skipConflicts = false, allOrNothing = false;
  bool owner = false;  // carry owners over; else a replaced file keeps its owner and a new one is the tree owner's (root) or the caller's
};

enum class Verdict {
  apply,       // is or would be done
  already,     // the host has it
  protection,  // runs code on the host, and --include-protected was not given
  cache,       // in a cache that tools load as code, and neither named nor --include-protected
  skipped,     // never carried over, or depends on something that is not
  conflict,
  failed,  // the system refused; the reason says why
  undone,  // was done, and taken back because another one failed
};

struct Item {
  const Change* change = nullptr;
  Verdict verdict = Verdict::apply;
  std::string reason;
  std::string protection;  // why the path can run code on the host; also when it is applied
  bool forceable = false;  // conflict: --force overrides it
  bool forced = false;
  bool placeContent = true;  // false: only metadata differs
  bool onlyRemove = false;   // renamed within caches: the old place goes, the new one is left out
  Found host;                // at the change's path when it was looked at
  FileState hostFrom;        // renamed: at `from`
};

// Parents before what is in them. Pointers into `set`. Throws Error "usage" for a path that no change is at or below.
std::vector<Item> planApply(const ChangeSet& set, const Tree& tree, const ApplyOptions& options);

// Why a change can run code on the host: what the change set says, or what is known here. Empty: it cannot.
std::string protectionOf(const Change& change);

// "the host's file changed while the task ran", or since its predecessor, whose tree it saw as well.
std::string hostChangedText(const ChangeSet& set);

// A new directory has these bits until everything in it is there.
inline constexpr uint32_t kOwnerMayWrite = 0700;

// Names of apply's own work directories begin with it, at the tree's top.
inline constexpr const char* kWorkPrefix = ".rauha-apply-";

// Changes at or below one of the paths (all when there are none), by their place in the set. Throws Error "usage" for a path without a
// change.
std::vector<const Change*> selectChanges(const ChangeSet& set, const std::vector<std::string>& paths);
// A path as the user wrote it ("./a/", or absolute below the tree) as a path of the tree. Throws Error "usage".
std::string treePath(const std::string& path, const std::string& top);

}  // namespace rauha::cli
