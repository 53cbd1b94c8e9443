#pragma once
// The plugin's own section of rauha.toml. Pure.

#include <string_view>

#include "plugins/image-oci/limits.h"

namespace rauha::oci {

// layer_bytes_max = "64GiB", entries_max = 1000000; absent: the defaults of Limits. Throws Error invalid: not TOML, an unknown key (by
// name), a bad value.
Limits readConfig(std::string_view text);

}  // namespace rauha::oci
