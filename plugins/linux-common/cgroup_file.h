#pragma once
// Reading and writing the one-value and key-value files of control groups. For the implementation of this folder and the backend.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rauha::cgroup {

// The file's text, or nullopt when the file or its group does not exist (ENOENT, ENODEV). Other failures throw.
std::optional<std::string> readIfPresent(const std::string& path);
// A decimal number; "max" is UINT64_MAX; nullopt when absent or not a number.
std::optional<uint64_t> readNumber(const std::string& path);
// The number behind `key` in lines of "key number"; nullopt when there is no such line.
std::optional<uint64_t> valueOf(std::string_view text, std::string_view key);
// One write(2), no O_CREAT. Returns 0 or the errno.
int tryWrite(const std::string& path, std::string_view content) noexcept;

}  // namespace rauha::cgroup
