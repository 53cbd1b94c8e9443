#include "core/base/near_name.h"

#include <algorithm>
#include <array>

namespace rauha {
namespace {

// Longer words are nobody's slip; bounds the matrix.
constexpr size_t kMaxWord = 40;

// Damerau's distance with adjacent transpositions ("memroy" is one step from "memory").
size_t distance(std::string_view a, std::string_view b) noexcept {
  std::array<std::array<size_t, kMaxWord + 1>, 3> rows{};
  for (size_t j = 0; j <= b.size(); ++j) rows[1][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& before = rows[(i + 2) % 3];
    auto& previous = rows[i % 3];
    auto& current = rows[(i + 1) % 3];
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) current[j] = std::min(current[j], before[j - 2] + 1);
    }
  }
  return rows[(a.size() + 1) % 3][b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) noexcept {
  if (word.empty() || word.size() > kMaxWord) return {};
  const size_t limit = std::max<size_t>(1, word.size() / 3);
  std::string_view best;
  size_t bestDistance = limit + 1;
  for (const auto candidate : candidates) {
    if (candidate.size() > kMaxWord) continue;
    const size_t d = distance(word, candidate);
    if (d < bestDistance) bestDistance = d, best = candidate;
  }
  return best;
}

std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates) {
  const auto near = nearest(word, candidates);
  if (!near.empty()) return "did you mean '" + std::string(near) + "'?";
  std::string list;
  for (const auto candidate : candidates) (list += list.empty() ? "known here: " : ", ") += candidate;
  return list;
}

}  // namespace rauha
