#pragma once
// Where one instance of Rauha listens: derived from --root or RAUHA_ROOT, without touching the disk.
//
// The default instance is reached at /run/rauha/rauhad.sock; a private one (DIR) at DIR/run/rauhad.sock.

#include <optional>
#include <string>

namespace rauha::cli {

struct InstancePaths {
  std::string root;              // absolute; "" for the default instance
  std::string runtimeDirectory;  // absolute
  std::string socketName = "rauhad.sock";
  bool isDefault() const noexcept { return root.empty(); }
  std::string socketPath() const { return runtimeDirectory + "/" + socketName; }
  // Where a daemon that the command line started writes its log. What it prints before that is in the runtime directory.
  std::string logPath() const { return (isDefault() ? "/var/lib/rauha" : root + "/state") + "/rauhad.log"; }
};

// rootOption wins over the environment variable RAUHA_ROOT; both empty or "/": the default instance.
// Throws Error "usage" when the option is empty, Error "daemon" when the working directory cannot be read.
InstancePaths instancePaths(const std::optional<std::string>& rootOption);

}  // namespace rauha::cli
