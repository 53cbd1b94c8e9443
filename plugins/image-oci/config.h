#pragma once
// The plugin's own section of rauha.toml. Pure.

#include <string_view>

#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/registry/settings.h"

namespace rauha::oci {

struct PluginConfig {
  Limits limits;
  RegistrySettings registries;
  bool keepBlobs = true;
};

//   layer_bytes_max = "64GiB"   entries_max = 1000000   keep_blobs = true   pull = true   parallel = 4   stall_timeout = "30s" retry_pause
//   = "500ms" (it doubles) proxy = "http://proxy:3128"   no_proxy = "localhost,.example"   (else http_proxy, https_proxy, no_proxy of the
//   daemon's environment) [registry."HOST:PORT"]   insecure = false   ca = "/path.pem"   certificate = "/path.pem"   key = "/path.pem"
//   mirrors =
//   ["HOST:PORT"]
// Absent: the defaults of Limits and RegistrySettings. Throws Error invalid: not TOML, an unknown key (by name), a bad value.
PluginConfig readConfig(std::string_view text);

}  // namespace rauha::oci
