#pragma once
// The renames of apply: each moves one whole object between the work directory and its place, and says when what was there is not what had
// been compared. Parents are reached anew for every step, through no symbolic link.
//
// Every function throws Error "repository"; nothing has then been changed, or it has been put back.

#include <string>

#include "frontends/cli/changes/tree.h"
#include "frontends/cli/changes/work_directory.h"

namespace rauha::cli {

// An object's place in the tree.
struct Place {
  UniqueFd parent;
  std::string name;
  std::string path;
};
Place placeOf(const Tree& tree, const std::string& path);

// Is it the same object, untouched? Not by change time: a rename sets that.
bool sameObject(const FileState& a, const FileState& b);

// work/staged -> place, where nothing may be.
void placeNew(const WorkDirectory& work, const std::string& staged, const Place& place);
// work/staged <-> place, where `expected` must be. Afterwards the old object is work/staged.
// exactUndo: refuse file systems that cannot exchange; else a plain rename is used there, right behind a comparison.
void exchange(const WorkDirectory& work, const std::string& staged, const Place& place, const FileState& expected, bool exactUndo);
// place -> work/<kept>, when it is `expected`; no directories.
void takeAway(const WorkDirectory& work, const std::string& kept, const Place& place, const FileState& expected);

}  // namespace rauha::cli
