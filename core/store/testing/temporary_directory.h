#pragma once
// For tests: a directory that is gone with its owner.

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "core/base/error.h"

namespace rauha::store::testing {

class TemporaryDirectory final {
 public:
  TemporaryDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "rauha-store-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) throwErrno("store", "mkdtemp " + path);
    path_ = path;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace rauha::store::testing
