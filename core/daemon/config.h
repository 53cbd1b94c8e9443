#pragma once
// rauha.toml: what an operator decides about the daemon. Absent file: the defaults. Unknown keys are refused with file, line and key.
//
//   [daemon]   socket_group = "rauha"   idle_exit = "60s" (on demand only)   workers = 4   task_history = 1000
//              prepared_zones = 1   prepared_idle = "30s"
//   [plugins]  backend = "backend-linux"   images = "image-oci"   enforcer = "none"   network = "none"
//              call_timeout = "30s"   overrun_after = "5s"   abandon_after = "30s" (of a plugin's call, beyond its deadline)
//              directories = ["/usr/lib/rauha/plugins"]   allow_unsafe_directories = false
//              images may be a list: ["image-oci", "dir-snapshot"]. At most one of it has no schemes and gets what no other claims.
//   [changes]  keep = "7d"   keep_bytes = "2GiB"   max_changes = 300000   protected = ["Makefile", "*.mk"]
//   [plugin.NAME]  sha256 = "…"   schemes = ["snapshot"] (image plugins)   isolation = "none" or "process"; everything else goes to the
//                  plugin as its own configuration
//   [plugin.NAME.process]  with isolation = "process": network = false   capabilities = ["chown", …]   read = ["/srv"]   memory = "2GiB"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/plugin/remote/isolation.h"

namespace rauha {

struct PluginSection {
  std::string toml;    // the plugin's own keys, as TOML text
  std::string sha256;  // pin of the file, "" for none
  std::vector<std::string> schemes;
  std::optional<plugin::ProcessIsolation> isolation;  // isolation = "process"
};

// Of what tasks did to repositories that they saw in overlay mode.
struct ChangesSection {
  uint64_t keepMs = 7ULL * 24 * 3600 * 1000;  // 0: no limit by age
  uint64_t keepBytes = 2ULL << 30;            // of all sets; one may have half of it
  uint32_t maxChanges = 300'000;
  std::vector<std::string> protectedPatterns;
};

struct Config {
  std::string socketGroup = "rauha";
  uint64_t idleExitMs = 60'000;
  uint32_t workers = 4;
  uint32_t taskHistory = 1000;
  uint32_t preparedZones = 1;        // boundaries that wait for a task; 0: each is made when it is needed
  uint64_t preparedIdleMs = 30'000;  // without tasks for so long, none waits
  std::string backend = "backend-linux";
  std::vector<std::string> images{"image-oci"};
  std::string enforcer = "none";
  std::string network = "none";
  std::vector<std::string> pluginDirectories;  // empty: the one beside the program
  bool allowUnsafeDirectories = false;
  uint64_t callTimeoutMs = 30'000;   // of a plugin's call about a zone, of an image source's release and list
  uint64_t overrunAfterMs = 5'000;   // beyond its deadline: told
  uint64_t abandonAfterMs = 30'000;  // beyond its deadline: given up
  std::map<std::string, PluginSection> plugins;
  ChangesSection changes;
};

// A file that does not exist gives the defaults unless `mustExist`. Throws Error "daemon".
Config loadConfig(const std::string& path, bool mustExist);
Config parseConfig(const std::string& text, const std::string& source);

}  // namespace rauha
