#include "frontends/cli/changes/line_diff.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>

namespace rauha::cli {
namespace {

using Id = uint32_t;
constexpr ptrdiff_t kNone = std::numeric_limits<ptrdiff_t>::min() / 4;
constexpr ptrdiff_t kMaxDistance = 4096;      // of one region's search: its cost grows with the square
constexpr ptrdiff_t kMaxSteps = 100'000'000;  // of all searches of one file: some tenths of a second

struct Sides {
  std::vector<Id> a, b;
};

// Equal lines get equal numbers. By sorting: a table's hash could be attacked by whoever wrote the lines.
Sides number(const std::vector<std::string_view>& oldLines, const std::vector<std::string_view>& newLines) {
  const size_t n = oldLines.size(), all = n + newLines.size();
  std::vector<size_t> order(all);
  std::iota(order.begin(), order.end(), size_t{0});
  auto line = [&](size_t i) { return i < n ? oldLines[i] : newLines[i - n]; };
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return line(x) < line(y); });
  Sides out{std::vector<Id>(n), std::vector<Id>(newLines.size())};
  Id next = 0;
  for (size_t i = 0; i < all; ++i) {
    if (i > 0 && line(order[i]) != line(order[i - 1])) ++next;
    (order[i] < n ? out.a[order[i]] : out.b[order[i] - n]) = next;
  }
  return out;
}

// One side of the search: the lines that both texts have, and where they stand.
struct Reduced {
  std::vector<Id> ids;
  std::vector<size_t> places;
};

class Search final {
 public:
  Search(Reduced a, Reduced b, std::vector<char>& changedA, std::vector<char>& changedB, ptrdiff_t most)
      : a_(std::move(a)), b_(std::move(b)), changedA_(changedA), changedB_(changedB), most_(most) {}
  // Returns its steps.
  ptrdiff_t run() {
    compare(0, size(a_), 0, size(b_));
    return steps_;
  }

 private:
  struct Point {
    ptrdiff_t x = 0, y = 0;
    bool found = false;
  };

  static ptrdiff_t size(const Reduced& side) { return static_cast<ptrdiff_t>(side.ids.size()); }
  bool same(ptrdiff_t x, ptrdiff_t y) const { return a_.ids[static_cast<size_t>(x)] == b_.ids[static_cast<size_t>(y)]; }
  static ptrdiff_t& at(std::vector<ptrdiff_t>& v, ptrdiff_t k) { return v[static_cast<size_t>(k + kMaxDistance + 1)]; }

  void mark(const Reduced& side, std::vector<char>& changed, ptrdiff_t begin, ptrdiff_t end) const {
    for (ptrdiff_t i = begin; i < end; ++i) changed[side.places[static_cast<size_t>(i)]] = 1;
  }

  void compare(ptrdiff_t aBegin, ptrdiff_t aEnd, ptrdiff_t bBegin, ptrdiff_t bEnd) {
    while (aBegin < aEnd && bBegin < bEnd && same(aBegin, bBegin)) ++aBegin, ++bBegin;
    while (aBegin < aEnd && bBegin < bEnd && same(aEnd - 1, bEnd - 1)) --aEnd, --bEnd;
    if (aBegin == aEnd || bBegin == bEnd) {
      mark(a_, changedA_, aBegin, aEnd);
      mark(b_, changedB_, bBegin, bEnd);
      return;
    }
    const Point middle = split(aBegin, aEnd, bBegin, bEnd);
    const bool corner = (middle.x == aBegin && middle.y == bBegin) || (middle.x == aEnd && middle.y == bEnd);
    if (!middle.found || corner) {
      mark(a_, changedA_, aBegin, aEnd);
      mark(b_, changedB_, bBegin, bEnd);
      return;
    }
    compare(aBegin, middle.x, bBegin, middle.y);
    compare(middle.x, aEnd, middle.y, bEnd);
  }

  // A point on a shortest path, from searches that meet in the middle. Both sides' first lines differ, and their last ones.
  // v[k]: how far diagonal k = x - y is reached; the search from the end is the same in mirrored coordinates.
  Point split(ptrdiff_t aBegin, ptrdiff_t aEnd, ptrdiff_t bBegin, ptrdiff_t bEnd) {
    const ptrdiff_t n = aEnd - aBegin, m = bEnd - bBegin, delta = n - m;
    const bool odd = (delta & 1) != 0;
    const ptrdiff_t limit = std::min((n + m + 1) / 2, kMaxDistance);
    // Not before one is needed: most changes are of one place, and have no search.
    const size_t diagonals = 2 * static_cast<size_t>(kMaxDistance) + 4;
    forward_.resize(diagonals);
    backward_.resize(diagonals);
    at(forward_, 0) = at(backward_, 0) = kNone;
    for (ptrdiff_t d = 0; d <= limit; ++d) {
      for (ptrdiff_t k : {d + 1, -d - 1}) at(forward_, k) = at(backward_, k) = kNone;
      // Diagonals outside of the box hold nothing; what they would have is kNone since the line above.
      const ptrdiff_t low = d <= m ? -d : -m + ((d - m) & 1), high = d <= n ? d : n - ((d - n) & 1);
      steps_ += high - low + 2;
      if (steps_ > most_) return {};
      for (ptrdiff_t k = low; k <= high; k += 2) {
        ptrdiff_t x = start(forward_, k, d, n, m);
        while (x >= 0 && x < n && x - k < m && same(aBegin + x, bBegin + x - k)) ++x, ++steps_;
        at(forward_, k) = x;
        const ptrdiff_t opposite = delta - k;
        if (odd && x >= 0 && opposite > -d && opposite < d && x + at(backward_, opposite) >= n) return {aBegin + x, bBegin + x - k, true};
      }
      for (ptrdiff_t k = low; k <= high; k += 2) {
        ptrdiff_t x = start(backward_, k, d, n, m);
        while (x >= 0 && x < n && x - k < m && same(aEnd - 1 - x, bEnd - 1 - x + k)) ++x, ++steps_;
        at(backward_, k) = x;
        const ptrdiff_t opposite = delta - k;
        if (!odd && x >= 0 && opposite >= -d && opposite <= d && x + at(forward_, opposite) >= n) return {aEnd - x, bEnd - x + k, true};
      }
    }
    return {};
  }

  // Where diagonal k is entered with the d-th edit: to the right from k-1, or down from k+1. kNone: outside of the box.
  static ptrdiff_t start(std::vector<ptrdiff_t>& v, ptrdiff_t k, ptrdiff_t d, ptrdiff_t n, ptrdiff_t m) {
    if (d == 0) return 0;
    ptrdiff_t right = at(v, k - 1) + 1, down = at(v, k + 1);
    if (right > n) right = kNone;
    if (down - k > m) down = kNone;
    const ptrdiff_t x = std::max(right, down);
    return x < 0 ? kNone : x;
  }

  Reduced a_, b_;
  std::vector<char>&changedA_, &changedB_;
  std::vector<ptrdiff_t> forward_, backward_;
  const ptrdiff_t most_;
  ptrdiff_t steps_ = 0;
};

// Lines that the other side has not are changed, whatever else is; they only make the search longer.
// first: where in the text the numbered lines begin.
Reduced reduce(const std::vector<Id>& ids, const std::vector<char>& inOther, std::vector<char>& changed, size_t first) {
  Reduced out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (inOther[ids[i]] == 0) {
      changed[first + i] = 1;
    } else {
      out.ids.push_back(ids[i]);
      out.places.push_back(first + i);
    }
  }
  return out;
}

std::vector<LineBlock> blocksOf(const std::vector<char>& changedA, const std::vector<char>& changedB) {
  std::vector<LineBlock> out;
  size_t i = 0, j = 0;
  while (i < changedA.size() || j < changedB.size()) {
    LineBlock block{i, i, j, j};
    while (block.oldEnd < changedA.size() && changedA[block.oldEnd] != 0) ++block.oldEnd;
    while (block.newEnd < changedB.size() && changedB[block.newEnd] != 0) ++block.newEnd;
    const bool empty = block.oldBegin == block.oldEnd && block.newBegin == block.newEnd;
    if (!empty) out.push_back(block);
    i = block.oldEnd + 1;  // past the equal line that ended it
    j = block.newEnd + 1;
  }
  return out;
}

}  // namespace

std::vector<std::string_view> splitLines(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const size_t length = end == std::string_view::npos ? text.size() : end + 1;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

std::vector<LineBlock> diffLines(const std::vector<std::string_view>& oldLines, const std::vector<std::string_view>& newLines,
                                 LineWork& work) {
  size_t head = 0, oldEnd = oldLines.size(), newEnd = newLines.size();
  while (head < oldEnd && head < newEnd && oldLines[head] == newLines[head]) ++head;
  while (oldEnd > head && newEnd > head && oldLines[oldEnd - 1] == newLines[newEnd - 1]) --oldEnd, --newEnd;
  std::vector<char> changedA(oldLines.size()), changedB(newLines.size());
  const auto part = [](const auto& lines, size_t begin, size_t end) {
    return std::vector(lines.begin() + static_cast<ptrdiff_t>(begin), lines.begin() + static_cast<ptrdiff_t>(end));
  };
  if (head < oldEnd && head < newEnd) {
    const Sides sides = number(part(oldLines, head, oldEnd), part(newLines, head, newEnd));
    std::vector<char> inA(sides.a.size() + sides.b.size()), inB(inA.size());
    for (const Id id : sides.a) inA[id] = 1;
    for (const Id id : sides.b) inB[id] = 1;
    work.steps -= Search(reduce(sides.a, inB, changedA, head), reduce(sides.b, inA, changedB, head), changedA, changedB,
                         std::min(kMaxSteps, work.steps))
                      .run();
  } else {
    std::fill(changedA.begin() + static_cast<ptrdiff_t>(head), changedA.begin() + static_cast<ptrdiff_t>(oldEnd), 1);
    std::fill(changedB.begin() + static_cast<ptrdiff_t>(head), changedB.begin() + static_cast<ptrdiff_t>(newEnd), 1);
  }
  return blocksOf(changedA, changedB);
}

}  // namespace rauha::cli
