#pragma once
// What git needs to carry bytes in a patch: the SHA-1 name of a blob (`git apply` checks it on both sides of a binary change) and the
// literal form, zlib-compressed in base 85. Not a security boundary: SHA-1 is only git's name for the content.

#include <string>
#include <string_view>

namespace rauha::cli {

// 40 hex digits, as `git hash-object` prints them.
std::string gitBlobId(std::string_view content);

// "literal <size>", the lines, and the empty line that ends it.
std::string gitLiteral(std::string_view content);

}  // namespace rauha::cli
