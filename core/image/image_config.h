#pragma once
// The part of an OCI image configuration that Rauha acts on (image-spec 1.0, config.md), read from hostile JSON with limits.

#include <schemas/image.capnp.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/plugin/image_source.h"

namespace rauha::image {

struct Config {
  std::vector<std::string> entrypoint, cmd, env, volumes;
  std::string workdir, user, stopSignal, architecture, os;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string createdAt;
};

// Empty text gives an empty Config. Throws Error "image" (corrupt) naming the field.
Config parseConfig(std::string_view text, std::string_view reference);
void writeInfo(schema::ImageInfo::Builder out, const plugin::ResolvedImage& image);

}  // namespace rauha::image
