#pragma once
// "did you mean …": the nearest of the known names to a mistyped word. Any thread; the word may be hostile.

#include <span>
#include <string>
#include <string_view>

namespace rauha {

// The candidate that `word` is most likely a slip of; "" when none is near (edit distance over a third of its length).
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) noexcept;

// "did you mean 'memory'?", or "known here: a, b, c".
std::string didYouMean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace rauha
