#pragma once
// Which paths of a repository are caches that tools load again as code: whoever can plant a file there runs code at the next import or
// build, and no reviewer reads it. They are therefore never carried over unasked; whoever needs one makes it again. A change to one is
// shown as one line a group, not one by one: each test run leaves dozens.
//
// Compared without regard to the case of ASCII letters, because some file systems do so. A pure function; any thread; used by core and the
// command line. The text is static.

#include <string_view>

namespace rauha {

// path: relative to the repository's top. Empty: not in a cache. "__pycache__", "*.pyc", ".mypy_cache", "node_modules/.cache", …
std::string_view cacheGroup(std::string_view path) noexcept;

}  // namespace rauha
