#pragma once
// The part of an OCI image configuration that Rauha acts on (image-spec 1.0, config.md), read from hostile JSON with limits.

#include <schemas/image.capnp.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/plugin/image_source.h"

namespace rauha::image {

struct HistoryEntry {
  std::string createdAt, createdBy, author, comment;
  bool emptyLayer = false;
};

struct Config {
  std::vector<std::string> entrypoint, cmd, env, volumes;
  std::string workdir, user, stopSignal, architecture, os, variant;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string createdAt;
  std::vector<HistoryEntry> history;  // oldest first
};

// Empty text gives an empty Config. Throws Error "image" (corrupt) naming the field.
Config parseConfig(std::string_view text, std::string_view reference);
// history: with the image's history, which may be long.
void writeInfo(schema::ImageInfo::Builder out, const plugin::ResolvedImage& image, bool history = false);
// What the image runs when nobody names a command: entrypoint, then cmd.
std::vector<std::string> ownCommand(const Config& config);
// "SIGQUIT", "QUIT", "3", "SIGRTMIN+3"; nullopt: it is no signal of this machine.
std::optional<int> signalNumber(std::string_view name);

}  // namespace rauha::image
