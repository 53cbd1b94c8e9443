#pragma once
// For tests of the loader: a directory that the loader trusts, removed at the end. /tmp is no such place.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "core/base/error.h"
#include "core/plugin/trusted_file.h"

namespace rauha::plugin {

class TestDirectory final {
 public:
  TestDirectory() {
    std::string reasons;
    const char* home = getenv("HOME");
    for (const std::string& base :
         {std::filesystem::current_path().string(), std::string("/run"), std::string(home != nullptr ? home : "/")}) {
      try {
        openTrustedDirectory(base, {});
        std::string name = base + "/rauha-test-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) throwErrno("plugin", "make a directory in " + base);
        path_ = name;
        return;
      } catch (const Error& e) {
        reasons += e.text() + "; ";
      }
    }
    throw std::runtime_error("no trusted directory for the test: " + reasons);
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace rauha::plugin
