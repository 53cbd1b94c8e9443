#pragma once
// rauha.image/1 as messages (schemas/plugin_host.capnp). Written in the plugin's process from what its adapter has checked; read in the
// daemon, which believes none of it and pushes everything through the same sink that a plugin in its own process pushes into.

#include <rauha/image.h>
#include <schemas/plugin_host.capnp.h>

#include <string>
#include <vector>

#include "core/plugin/image_source.h"

namespace rauha::plugin {

// In the plugin's process. source: the request's descriptor, or -1. Throws Error "image" when a layer is a directory that cannot cross.
void writeImages(capnp::List<schema::PluginImage>::Builder out, const std::vector<ResolvedImage>& images, int source);

void writeChecks(capnp::List<schema::PluginImageCheck>::Builder out, const std::vector<ImageCheck>& checks);

// What the daemon accepts of a plugin's process.
struct ImageBounds {
  std::string store;              // absolute: where its layers must lie
  std::vector<std::string> read;  // absolute: beneath what its binds must lie
  int source = -1;                // borrowed: the request's descriptor
  bool pinLayers = false;         // hand layers on as descriptors, so that what was checked is what will be mounted
};

// In the daemon: pushes what was received. Throws Error of class "plugin" for what the sink could not see to be wrong.
void pushImages(capnp::List<schema::PluginImage>::Reader from, const ImageBounds& bounds, const rauha_image_sink& sink);
void pushChecks(capnp::List<schema::PluginImageCheck>::Reader from, const rauha_image_sink& sink);

}  // namespace rauha::plugin
