#pragma once
// An index of git that a task left, against the host's: git rewrites it at every look, so it is noise, unless it says something else than
// before. What it says is put into the host's next commit, or written by the next `git checkout .`, whatever the tree has.
//
// Read by core/base/git_index.h, and stricter: what git's threads and its commits would take from elsewhere than from the entries has to be
// theirs. What is not understood is protected. Pure; any thread; memory: the two files, their names, and some 40 bytes an entry.

#include <functional>
#include <string_view>

namespace rauha::changes {

struct IndexVerdict {
  bool same = false;        // names, modes, object ids and flags are those of before
  std::string_view reason;  // why it is protected: a static text, or empty
};

// before: the host's; empty: there is none. protection: why a path is protected that an entry names, or empty.
IndexVerdict judgeIndex(std::string_view before, std::string_view after,
                        const std::function<std::string_view(std::string_view)>& protection);

}  // namespace rauha::changes
