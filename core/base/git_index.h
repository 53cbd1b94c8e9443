#pragma once
// Reading an index of git, and what is staged in it, without what git only remembers to look faster: times, inode, size and owner of each
// file, its caches of trees and untracked files. `git status`, an editor and a prompt rewrite the index for these alone, and that is
// nobody's work.
//
// The format is Documentation/gitformat-index.txt of git, versions 2 to 4, SHA-1 and SHA-256. Whoever may write the repository wrote it, so
// nothing in it is trusted: what does not parse to its last byte, or keeps entries in another file (a split index), is not known. Pure but
// for reading; any thread. Memory: the file.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rauha {

// A larger one is not known.
inline constexpr size_t kMostGitIndexBytes = 64 << 20;

struct GitIndexEntry {
  static constexpr uint16_t kAssumeValid = 0x8000, kExtended = 0x4000, kStage = 0x3000;  // of flags
  static constexpr uint16_t kIntentToAdd = 0x2000;                                       // of more
  std::string_view name;                                                                 // not empty, 4096 bytes at most; 256 MiB in all
  std::string_view id;                                                                   // bytes, not digits
  uint32_t mode = 0;
  uint16_t flags = 0;  // with the length of the name in its lower bits
  uint16_t more = 0;   // zero where kExtended is not set
  size_t start = 0;    // where it begins in the file
};

// What readGitIndex finds, in the file's order. Either returns false when it does not understand what it got: that ends the reading.
class GitIndexVisitor {
 public:
  // The name is gone after the call, the id as late as the index.
  virtual bool entry(const GitIndexEntry& entry) = 0;
  // Of those that git can do without, and "sdir". at: where it begins in the file.
  virtual bool extension(std::string_view name, std::string_view bytes, size_t at) = 0;

 protected:
  ~GitIndexVisitor() = default;
};

// idBytes: of an object's id, 20 or 32; nothing in the file says which. False: not understood to its last byte; what was visited until
// then means nothing. Its checksum is not looked at: whoever writes an index can make one.
bool readGitIndex(std::string_view index, size_t idBytes, GitIndexVisitor& visitor);

// "sha256:…" over names, modes, object ids, stages and flags, and over every extension that is no cache. Two indexes with the same mean the
// same to git. Empty: not known.
std::string gitIndexEntries(std::string_view index);
// Of a file, from its start, whatever the descriptor's position. Empty also when it cannot be read, or has more than 64 MiB.
std::string gitIndexEntries(int fd);

}  // namespace rauha
