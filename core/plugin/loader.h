#pragma once
// From a file to a plugin that may be used, in the order that keeps foreign code from running too early:
//   inspectPlugin()  owner and permissions of every component, the note, the pinned hash; nothing of the file has run
//   openPlugin()     dlopen of that very descriptor, entry, descriptor and its agreement with the note; its constructors have run
// Stateless; blocks. Errors: Error of class "plugin" whose text begins with the file's path, one exact reason each.

#include <rauha/plugin.h>

#include <optional>
#include <string>
#include <vector>

#include "core/plugin/note.h"
#include "core/plugin/trusted_file.h"

namespace rauha::plugin {

struct InspectedPlugin {
  TrustedFile file;
  Note note;
};

// sha256: what the file must hash to. The file's name must be <note's name>.so.
InspectedPlugin inspectPlugin(const std::string& path, const TrustRules& rules, const std::optional<std::string>& sha256);

// What the entry returned, copied and checked. The functions stay valid for the life of the process: nothing is ever unloaded.
struct OpenedPlugin {
  std::string path;
  Note note;
  std::vector<std::string> weaknesses;
  std::string license;
  std::vector<std::string> provides;
  decltype(rauha_plugin::create) create = nullptr;
  decltype(rauha_plugin::destroy) destroy = nullptr;
  decltype(rauha_plugin::get_interface) getInterface = nullptr;
};

enum class PluginPlace { daemon, ownProcess };

// services: ids of what the host offers at this place; a plugin that requires another is refused by that name.
OpenedPlugin openPlugin(InspectedPlugin plugin, const std::vector<std::string>& services, PluginPlace place = PluginPlace::daemon);

}  // namespace rauha::plugin
