#pragma once
// An index of git that a task left, against the host's: git rewrites it at every look, so it is noise, unless it says something else than
// before. What it says is put into the host's next commit, or written by the next `git checkout .`, whatever the tree has.
//
// The format is Documentation/gitformat-index.txt, versions 2 to 4. All of it is hostile: what is not understood is protected. Pure; any
// thread; memory: the two files, and some 20 bytes an entry.

#include <cstdint>
#include <functional>
#include <string_view>

namespace rauha::changes {

// Larger ones are not understood.
inline constexpr uint64_t kMostIndexBytes = 64ULL << 20;

struct IndexVerdict {
  bool same = false;        // names, modes, object ids and flags are those of before
  std::string_view reason;  // why it is protected: a static text, or empty
};

// before: the host's; empty: there is none. protection: why a path is protected that an entry names, or empty.
IndexVerdict judgeIndex(std::string_view before, std::string_view after,
                        const std::function<std::string_view(std::string_view)>& protection);

}  // namespace rauha::changes
