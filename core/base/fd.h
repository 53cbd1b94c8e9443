#pragma once
// Owners of what must be given back: descriptors (UniqueFd) and everything else (Defer). No owning int anywhere.

#include <string>
#include <string_view>
#include <utility>

namespace rauha {

// Owns one descriptor; -1 is "none". Not thread-safe, like an int.
class UniqueFd final {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

// Runs a function when the scope ends, unless dismissed.
template <typename F>
class [[nodiscard]] Defer final {
 public:
  explicit Defer(F f) : f_(std::move(f)) {}
  Defer(const Defer&) = delete;
  Defer& operator=(const Defer&) = delete;
  ~Defer() {
    if (armed_) f_();
  }
  void dismiss() noexcept { armed_ = false; }

 private:
  F f_;
  bool armed_ = true;
};

// A duplicate with O_CLOEXEC. Throws Error of class "daemon".
UniqueFd duplicate(int fd);
// The whole file, at most `limit` bytes; throws Error limit beyond that, osError otherwise. For small files (proc, sysfs, configuration).
std::string readFile(const std::string& path, size_t limit = 1 << 20);
std::string readAll(int fd, std::string_view what, size_t limit = 1 << 20);
// Writes all or throws; no O_CREAT: for proc, sysfs and cgroup files.
void writeExisting(const std::string& path, std::string_view content);
void writeAll(int fd, std::string_view content, std::string_view what);

}  // namespace rauha
