#include "core/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"

namespace rauha {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) {
    const int saved = errno;  // callers read errno after a failed step whose clean-up closes descriptors
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

UniqueFd duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) throwErrno("daemon", "duplicate descriptor " + std::to_string(fd));
  return copy;
}

std::string readAll(int fd, std::string_view what, size_t limit) {
  std::string out;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("daemon", "read " + std::string(what));
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > limit)
      throw Error("daemon", Code::limit, std::string(what) + " is larger than " + std::to_string(limit) + " bytes");
    out.append(buffer, static_cast<size_t>(n));
  }
}

std::string readFile(const std::string& path, size_t limit) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throwErrno("daemon", "open " + path);
  return readAll(fd.get(), path, limit);
}

void writeAll(int fd, std::string_view content, std::string_view what) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwErrno("daemon", "write " + std::string(what));
    content.remove_prefix(static_cast<size_t>(n));
  }
}

void writeExisting(const std::string& path, std::string_view content) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) throwErrno("daemon", "open " + path);
  writeAll(fd.get(), content, path);
}

}  // namespace rauha
