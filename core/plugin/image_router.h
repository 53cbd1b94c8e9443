#pragma once
// Several image plugins as one ImageSource: the scheme of a reference ("snapshot" of "snapshot:/srv/tree") says who answers.
//
// Which schemes a plugin answers for is the operator's word (rauha.toml, [plugin.NAME] schemes), never the plugin's: no plugin takes over
// "oci:" or a stored name by declaring it. Every reference without a claimed scheme goes to the one plugin that has no schemes. A plugin
// with schemes therefore gives what it imports names that begin with one of them; an import that does not is an error of that plugin. A
// list has of each plugin only what would be asked of it: nobody shows "host" as an image of its own.
//
// Owner: the Registry. Thread: [any], as the sources. A scheme whose plugin was refused stays claimed: its references fail with that
// reason.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/plugin/image_source.h"

namespace rauha::plugin {

struct ImageRoute {
  std::string plugin;
  std::vector<std::string> schemes;  // empty: the rest
  ImageSource* source = nullptr;     // null: refused
  std::string refusal, hint;         // when refused
};

// [a-z][a-z0-9+.-]{1,31}, as in URIs: a scheme is also a command line's word.
bool isImageScheme(std::string_view text) noexcept;

// Exactly one route has no schemes, and that one has a source. problem: a line for the log about a plugin; called on the caller's thread.
std::unique_ptr<ImageSource> routeImages(std::vector<ImageRoute> routes,
                                         std::function<void(const std::string& plugin, const std::string& text)> problem);

}  // namespace rauha::plugin
