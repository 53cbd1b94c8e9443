#pragma once
// Opens a file so that nobody but root and the daemon's own uid could have put it there or can change it.
//
// Every component of the path, from "/" on, is opened without following links and judged on its descriptor; what is returned is that
// very file, whatever happens to the name afterwards. Stateless; blocks.

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::plugin {

struct TrustRules {
  uint64_t maxBytes = 256u << 20;    // an instrumented build with everything linked in stays below
  bool insecureDirectories = false;  // see dangerous/insecure_plugin_directories.h
};

struct TrustedFile {
  UniqueFd fd;  // read-only
  std::string path;
  // What an operator should know of the place: what insecureDirectories let pass ("/tmp is writable by others (mode 1777)"), and what
  // belongs to the daemon's own user where that is not root (a private development directory).
  std::vector<std::string> weaknesses;
};

// Throws Error of class "plugin": notFound, denied (owner, mode, link), invalid (not absolute, not a regular file), limit (size). Text and
// object name the component.
TrustedFile openTrustedFile(const std::string& path, const TrustRules& rules);

// The same for a directory.
TrustedFile openTrustedDirectory(const std::string& path, const TrustRules& rules);

}  // namespace rauha::plugin
