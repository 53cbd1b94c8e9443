#pragma once
// Descriptors that close themselves, and errno as an Error with a status that fits.

#include <unistd.h>

#include <rauha/plugin.hpp>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

class Fd {
 public:
  explicit Fd(int fd = -1) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

inline rauha_status statusOf(int error) noexcept {
  switch (error) {
    case ENOENT:
      return RAUHA_E_NOT_FOUND;
    case EACCES:
    case EPERM:
      return RAUHA_E_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return RAUHA_E_LIMIT;
    default:
      return RAUHA_E_IO;
  }
}

// "read directory a/b: Permission denied"
[[noreturn]] inline void fail(const std::string& what, int error = errno, const std::string& hint = {}) {
  throw rauha::sdk::Error(statusOf(error), what + ": " + std::strerror(error), hint);
}
