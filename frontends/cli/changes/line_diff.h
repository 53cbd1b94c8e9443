#pragma once
// Which lines differ between two texts: Myers' algorithm in linear space, with a bound on its work.
//
// Why not Debian's libdtl: it is O(NP) without a bound on time and keeps every explored path, so two files of 100 000 lines with nothing in
// common, which any task can write, cost it some 10^10 steps. Here lines that the other side does not have are set aside first, and a
// region whose search goes over the bound is reported as replaced: a correct difference, only a coarser one.
//
// Pure; any thread. Memory: some 40 bytes a line.

#include <cstddef>
#include <string_view>
#include <vector>

namespace rauha::cli {

// Each with its line break; the last one may have none. Views into `text`.
std::vector<std::string_view> splitLines(std::string_view text);

// Lines [oldBegin, oldEnd) were replaced by [newBegin, newEnd); one of them may be empty. 0-based.
struct LineBlock {
  size_t oldBegin = 0, oldEnd = 0, newBegin = 0, newEnd = 0;
};

// In order, with at least one equal line between two blocks.
std::vector<LineBlock> diffLines(const std::vector<std::string_view>& oldLines, const std::vector<std::string_view>& newLines);

}  // namespace rauha::cli
