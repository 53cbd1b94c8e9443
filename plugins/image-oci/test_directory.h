#pragma once
// A private directory for one test, removed at its end; and looks into it. Tests only.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "core/base/fd.h"

namespace rauha::oci::test {

class TempDir {
 public:
  explicit TempDir(const std::string& base = "/tmp") {
    path_ = base + "/rauha-image-test-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void spill(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline struct stat look(const std::string& path) {
  struct stat meta {};
  if (lstat(path.c_str(), &meta) != 0) meta.st_mode = 0;
  return meta;
}

inline bool exists(const std::string& path) { return look(path).st_mode != 0; }
inline bool isWhiteout(const std::string& path) { return S_ISCHR(look(path).st_mode) && look(path).st_rdev == makedev(0, 0); }

// "" when there is none.
inline std::string xattr(const std::string& path, const char* key) {
  char value[256];
  const ssize_t n = lgetxattr(path.c_str(), key, value, sizeof value);
  return n < 0 ? std::string() : std::string(value, static_cast<size_t>(n));
}
inline bool isOpaque(const std::string& path) { return xattr(path, "trusted.overlay.opaque") == "y"; }

inline UniqueFd openDir(const std::string& path) { return UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

}  // namespace rauha::oci::test
