#include "plugins/image-oci/tree_compare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

constexpr size_t kBlock = 256u << 10;
using Xattrs = std::map<std::string, std::string>;

// Only files and directories have any: what a layer gives other things is left out (layer_unpack.h).
Xattrs xattrsOf(int fd, const std::string& name) {
  std::vector<char> list(64u << 10), value(64u << 10);
  const ssize_t size = flistxattr(fd, list.data(), list.size());
  if (size < 0 && errno == ENOTSUP) return {};
  if (size < 0) throwIo("list the attributes of '" + toUtf8(name) + "'");
  Xattrs out;
  for (const char* key = list.data(); key < list.data() + size; key += strlen(key) + 1) {
    const ssize_t n = fgetxattr(fd, key, value.data(), value.size());
    if (n < 0) throwIo("read the attributes of '" + toUtf8(name) + "'");
    out.emplace(key, std::string(value.data(), static_cast<size_t>(n)));
  }
  return out;
}

UniqueFd openFile(int dir, const std::string& name) {
  UniqueFd fd(openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throwIo("open '" + toUtf8(name) + "'");
  return fd;
}

std::string linkText(int dir, const std::string& name) {
  std::array<char, kPathMax + 1> text;
  const ssize_t n = readlinkat(dir, name.c_str(), text.data(), text.size());
  if (n < 0) throwIo("read the link '" + toUtf8(name) + "'");
  return std::string(text.data(), static_cast<size_t>(n));
}

size_t fill(int fd, std::vector<char>& buffer, const std::string& name) {
  size_t have = 0;
  while (have < buffer.size()) {
    const ssize_t n = read(fd, buffer.data() + have, buffer.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throwIo("read '" + toUtf8(name) + "'");
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  return have;
}

class Comparison final {
 public:
  explicit Comparison(const Watch& watch) : watch_(watch), a_(kBlock), b_(kBlock) {}

  std::string directories(int found, int expected, const std::string& path, size_t depth) {
    if (depth > kDepthMax + 8) throw Error("image", Code::limit, "a tree is deeper than " + std::to_string(kDepthMax) + " directories");
    const auto have = namesIn(found, "'" + toUtf8(path) + "'"), want = namesIn(expected, "'" + toUtf8(path) + "'");
    for (const std::string& name : want)
      if (!std::binary_search(have.begin(), have.end(), name)) return toUtf8(path + name) + " is missing";
    for (const std::string& name : have)
      if (!std::binary_search(want.begin(), want.end(), name)) return toUtf8(path + name) + " does not belong there";
    for (const std::string& name : want)
      if (std::string difference = entries(found, expected, name, path + name, depth); !difference.empty()) return difference;
    return {};
  }

  // "" or what is different about one name in both directories.
  std::string entries(int found, int expected, const std::string& name, const std::string& path, size_t depth) {
    watch_.mayGoOn();
    struct stat a {
    }, b{};
    if (fstatat(found, name.c_str(), &a, AT_SYMLINK_NOFOLLOW) != 0 || fstatat(expected, name.c_str(), &b, AT_SYMLINK_NOFOLLOW) != 0)
      throwIo("stat '" + toUtf8(path) + "'");
    const auto differs = [&](const char* what) { return toUtf8(path) + ": its " + what + " differs"; };
    if ((a.st_mode & S_IFMT) != (b.st_mode & S_IFMT)) return differs("type");
    if (a.st_mode != b.st_mode) return differs("mode");
    if (a.st_uid != b.st_uid || a.st_gid != b.st_gid) return differs("owner");
    if (a.st_rdev != b.st_rdev) return differs("device");
    if (S_ISREG(a.st_mode) && a.st_size != b.st_size) return differs("size");
    if (!S_ISDIR(a.st_mode) && a.st_nlink != b.st_nlink) return differs("number of links");
    const bool timed = !S_ISDIR(a.st_mode) && !S_ISCHR(a.st_mode);
    if (timed && (a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec)) return differs("time");
    if (S_ISLNK(a.st_mode)) return linkText(found, name) == linkText(expected, name) ? std::string() : differs("target");
    if (!S_ISREG(a.st_mode) && !S_ISDIR(a.st_mode)) return {};
    const UniqueFd x = openFile(found, name), y = openFile(expected, name);
    if (xattrsOf(x.get(), name) != xattrsOf(y.get(), name)) return toUtf8(path) + ": its attributes differ";
    if (S_ISREG(a.st_mode)) return sameContent(x.get(), y.get(), name) ? std::string() : differs("content");
    return directories(x.get(), y.get(), path == "." ? std::string() : path + "/", depth + 1);
  }

 private:
  bool sameContent(int found, int expected, const std::string& name) {
    for (;;) {
      watch_.mayGoOn();
      const size_t n = fill(found, a_, name), m = fill(expected, b_, name);
      if (n != m || memcmp(a_.data(), b_.data(), n) != 0) return false;
      if (n == 0) return true;
    }
  }

  const Watch& watch_;
  std::vector<char> a_, b_;
};

}  // namespace

std::string differenceOf(int found, int expected, const Watch& watch) {
  Comparison comparison(watch);
  // The roots first, as the entry "." of themselves.
  return comparison.entries(found, expected, ".", ".", 0);
}

}  // namespace rauha::oci
