#pragma once
// What is staged in an index of git, without what git only remembers to look faster: times, inode, size and owner of each file, its caches
// of trees and untracked files. `git status`, an editor and a prompt rewrite the index for these alone, and that is nobody's work.
//
// The format is Documentation/gitformat-index.txt of git, versions 2 to 4, SHA-1 and SHA-256. Whoever may write the repository wrote it, so
// nothing in it is trusted: what does not parse to its last byte, or keeps entries in another file (a split index), is not known. Pure but
// for reading; any thread. Memory: the file.

#include <string>
#include <string_view>

namespace rauha {

// "sha256:…" over names, modes, object ids, stages and flags, and over every extension that is no cache. Two indexes with the same mean the
// same to git. Empty: not known.
std::string gitIndexEntries(std::string_view index);
// Of a file, from its start, whatever the descriptor's position. Empty also when it cannot be read, or has more than 64 MiB.
std::string gitIndexEntries(int fd);

}  // namespace rauha
