#pragma once
// Contents of regular files: copied, digested and compared without touching their holes more than is asked for.

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/changes/change.h"

namespace rauha::changes {

struct Content {
  std::optional<Digest> digest;  // absent: more holes than holeBytes
  bool binary = false;           // a NUL within the first 8000 bytes
};

// How many bytes may still be written; crossing it is an answer, not an error.
struct WriteBudget {
  uint64_t left = UINT64_MAX;
  bool exceeded = false;  // also: the file system is full
  int error = 0;          // … then ENOSPC or EDQUOT
};

// Reads `from` up to `size`. to >= 0: writes what is no hole there as well, as long as the budget lasts; the digest goes on without it.
// Throws Error "repository" when reading fails.
Content readContent(int from, uint64_t size, uint64_t holeBytes, int to, WriteBudget& budget);
// Only digests.
Content readContent(int from, uint64_t size, uint64_t holeBytes);
// … and spares a small file without holes the search for them. st: as it was a moment ago.
Content readContent(int from, const struct stat& st, uint64_t holeBytes);
// What readContent would find in a file without holes.
Content contentOf(std::string_view bytes);
// The first `size` bytes; what the file does not have of them is zeros.
std::string readBytes(int fd, uint64_t size);
// size: as it was a moment ago.
bool isBinary(int fd, uint64_t size);
// Two files of this size. What is a hole in both is not read.
bool sameContent(int a, int b, uint64_t size);

}  // namespace rauha::changes
