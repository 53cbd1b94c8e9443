#include "core/daemon/config_fuzz_target.h"

#include <cstdlib>

#include "core/base/error.h"
#include "core/daemon/config.h"

namespace rauha {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

}  // namespace

bool fuzzConfig(std::string_view bytes) {
  try {
    const Config config = parseConfig(std::string(bytes), "fuzz.toml");
    must(!config.images.empty() && config.workers > 0);
    for (const std::string& directory : config.pluginDirectories) must(directory[0] == '/');
    // The plugin's own keys, as text, are TOML again.
    for (const auto& [name, section] : config.plugins) must(!name.empty() && section.sha256.find('\0') == std::string::npos);
    return true;
  } catch (const Error& e) {
    must(e.errorClass() == "daemon" && e.text().starts_with("fuzz.toml") && e.text().find('\n') == std::string::npos);
    return false;
  }
}

}  // namespace rauha
