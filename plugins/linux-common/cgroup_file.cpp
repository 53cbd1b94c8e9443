#include "plugins/linux-common/cgroup_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <limits>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::cgroup {

std::optional<std::string> readIfPresent(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENODEV || errno == ENOTDIR) return std::nullopt;
    throwErrno("backend", "open " + path);
  }
  std::string out;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n == 0) return out;
    if (n > 0) {
      out.append(buffer, static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    // A group removed after the open answers ENODEV; a file of a controller that this kernel was told to leave out, EOPNOTSUPP.
    if (errno == ENODEV || errno == EOPNOTSUPP) return std::nullopt;
    throwErrno("backend", "read " + path);
  }
}

std::optional<uint64_t> readNumber(const std::string& path) {
  const auto text = readIfPresent(path);
  if (!text) return std::nullopt;
  if (text->starts_with("max")) return std::numeric_limits<uint64_t>::max();
  uint64_t value = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
  return result.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<uint64_t> valueOf(std::string_view text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.size() <= key.size() + 1 || !line.starts_with(key) || line[key.size()] != ' ') continue;
    uint64_t value = 0;
    const char* first = line.data() + key.size() + 1;
    if (std::from_chars(first, line.data() + line.size(), value).ec == std::errc()) return value;
  }
  return std::nullopt;
}

int tryWrite(const std::string& path, std::string_view content) noexcept {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  const ssize_t n = ::write(fd.get(), content.data(), content.size());
  if (n < 0) return errno;
  return n == static_cast<ssize_t>(content.size()) ? 0 : EIO;
}

}  // namespace rauha::cgroup
