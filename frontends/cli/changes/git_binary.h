#pragma once
// What git needs to carry bytes in a patch: the SHA-1 name of a blob (`git apply` checks it on both sides of a binary change) and the
// literal form, zlib-compressed in base 85. Not a security boundary: SHA-1 is only git's name for the content.

#include <functional>
#include <string>
#include <string_view>

namespace rauha::cli {

// 40 hex digits, as `git hash-object` prints them.
std::string gitBlobId(std::string_view content);

// "literal <size>", the lines, and the empty line that ends it; in pieces, each of whole lines.
void writeGitLiteral(std::string_view content, const std::function<void(std::string_view)>& sink);

}  // namespace rauha::cli
