#pragma once
// What is fuzzed: any bytes as the archive that the daemon sends for an export, as they are taken apart into a layout's files. Shared by
// the fuzzer and by the replay of its corpus in ordinary builds.

#include <string_view>

namespace rauha::cli {

// Aborts when the same bytes in other pieces say something else, or a file gets more or less than its header said. true: an archive with
// its end.
bool fuzzPlainTar(std::string_view bytes);

}  // namespace rauha::cli
