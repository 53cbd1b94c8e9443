#include "frontends/cli/changes/change.h"

namespace rauha::cli {

bool isAcl(std::string_view attribute) noexcept {
  return attribute == "system.posix_acl_access" || attribute == "system.posix_acl_default";
}

bool isTreePath(std::string_view path) noexcept {
  constexpr size_t kMaxPath = 4095, kMaxName = 255;
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != std::string_view::npos) return false;
  for (size_t at = 0; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view name = path.substr(at, slash - at);
    if (name.empty() || name.size() > kMaxName || name == "." || name == "..") return false;
    at = slash + 1;
  }
  return true;
}

std::string parentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string nameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace rauha::cli
