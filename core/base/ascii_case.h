#pragma once
// Comparisons without regard to the case of ASCII letters, whatever the locale: for names that file systems or git fold. Any thread.

#include <algorithm>
#include <string_view>

namespace rauha {

constexpr char asciiLower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline bool sameButCase(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return asciiLower(x) == asciiLower(y); });
}

}  // namespace rauha
