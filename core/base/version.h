#pragma once
// The version of this build, as `--version` prints it.
namespace rauha {
inline constexpr const char* kVersion = "0.1.0";
}
