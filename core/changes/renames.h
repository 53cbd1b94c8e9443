#pragma once
// Recognises renames in a list of changes: an added and a deleted regular file of one size and digest, or two symbolic links of one text.
// Whole directories are renamed file by file. Pure but for reading old contents beneath `base`; worker thread.

#include <cstdint>
#include <vector>

#include "core/changes/change.h"

namespace rauha::changes {

struct RenamePair {
  size_t deleted, added;  // indexes into the list
};

// Sets the digests of the old contents that it reads, at most `bytes` of them. A file of the same name is preferred, then the first one.
std::vector<RenamePair> findRenames(std::vector<Change>& changes, int base, uint64_t bytes, uint64_t holeBytes);

}  // namespace rauha::changes
