#pragma once
// The plugin's own section of the configuration. A key that is not known is refused by name.

#include <cstdint>
#include <string>
#include <string_view>

namespace rauha::backend {

struct Config {
  std::string cgroupParent;      // `cgroup_parent`: path below the root of the v2 tree; empty: chosen by where the daemon runs
  uint32_t idBase = 0x70000000;  // `id_base`: first host id given to zones, a multiple of 65536
  uint32_t idSlots = 4095;       // `id_slots`: how many zones can have a range at once
};

// TOML text; empty is all defaults. Throws rauha::Error of class "backend", invalid.
Config readConfig(std::string_view toml);

}  // namespace rauha::backend
