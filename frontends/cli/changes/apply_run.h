#pragma once
// Carries out what planApply decided. One change at a time, each by one rename: a kill leaves the old or the new file, never half of one.
//
//   new        made ready in the work directory, renamed into place with RENAME_NOREPLACE
//   replaced   exchanged with the new one; when what comes out is not the object that was compared, exchanged back and reported
//   removed    renamed into the work directory, compared, then unlinked; directories by rmdir(2), so only when empty
//   metadata   in place, unless the file has another hard link: that one may be outside of the tree, so the file is replaced by a copy
//
// allOrNothing: everything is made ready first; when one step fails, what was done is taken back in reverse order. A kill in the middle
// leaves whole files, some old and some new: applying again completes it. There is no journal on disk on purpose: it would have to hold
// every old file, and whoever comes next could not tell whether the user has gone on from what is there.
//
// Runs as the caller; nothing here changes credentials. Blocks; the command's only thread.

#include <functional>
#include <string>
#include <vector>

#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {

struct ApplyReport {
  std::vector<std::string> notes;  // for standard error: leftovers, owners that stayed
  bool undone = false;
};

// Changes the verdicts of `items` (apply stays, or becomes failed or undone). Does nothing for verdicts other than apply.
// Throws Error "repository" when the tree is being applied to by another process, or no work directory can be made.
ApplyReport runApply(const ChangeSet& set, const Tree& tree, ContentSource& source, const ApplyOptions& options, std::vector<Item>& items);

}  // namespace rauha::cli
