#pragma once
// Text out of bytes that nobody vouches for.

#include <string>
#include <string_view>

namespace rauha {
// Is it UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF)?
bool isUtf8(std::string_view bytes) noexcept;
// Each maximal ill-formed subsequence becomes U+FFFD (Unicode 15, section 3.9, "best practice").
std::string toUtf8(std::string_view bytes);
std::string base64(std::string_view bytes);
}  // namespace rauha
