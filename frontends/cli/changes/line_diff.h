#pragma once
// Which lines differ between two texts: Myers' algorithm in linear space, with a bound on its work.
//
// Why not Debian's libdtl: it is O(NP) without a bound on time and keeps every explored path, so two files of 100 000 lines with nothing in
// common, which any task can write, cost it some 10^10 steps. Here lines that the other side does not have are set aside first, and a
// region whose search goes over the bound is reported as replaced: a correct difference, only a coarser one.
//
// Pure; any thread. Memory: some 50 bytes a line, which is why the number of lines has a bound too: a file of 32 MiB can have as many
// million.

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

// Lines of both sides, without equal ones at the start and the end, that are worth a table; beyond it a file counts as replaced.
constexpr size_t kComparedLines = 1'000'000;

// What one call of a program may spend on comparing, all files together: some ten seconds. Files then count as replaced.
struct LineWork {
  size_t lines = 10'000'000;
  ptrdiff_t steps = 1'000'000'000;
};

// In order, with at least one equal line between two blocks. Takes its steps from `work`.
std::vector<LineBlock> diffLines(const std::vector<std::string_view>& oldLines, const std::vector<std::string_view>& newLines,
                                 LineWork& work);

}  // namespace rauha::cli
