#pragma once
// The documents of an image (OCI image-spec 1.1, Docker image manifest schema 2), parsed and checked: index -> platform -> manifest ->
// configuration. Values; pure functions over text. Everything is hostile: wrong types, unknown media types, missing members and sizes
// out of bounds are refused with a text that names the document and the member.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::oci {

struct Descriptor {
  std::string mediaType;
  std::string digest;  // "sha256:…", checked
  uint64_t size = 0;   // bytes
};

struct Platform {
  std::string os, architecture, variant;
  // "linux/amd64"
  std::string text() const;
};
// "linux/amd64", "linux/arm/v7". Throws invalid.
Platform parsePlatform(std::string_view text);
// What this machine runs.
Platform hostPlatform();

struct IndexEntry {
  Descriptor descriptor;
  std::optional<Platform> platform;
  std::string refName;        // annotation org.opencontainers.image.ref.name
  std::string containerName;  // annotation io.containerd.image.name
  bool isIndex = false;
  bool isAttestation = false;  // a build record of BuildKit's, not an image
};

struct Manifest {
  std::string mediaType;  // its own; what it does not say follows from its configuration's
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

struct Config {
  Platform platform;                 // members may be empty in old docker images
  std::vector<std::string> diffIds;  // lowest first
};

bool isIndexType(std::string_view mediaType) noexcept;
bool isManifestType(std::string_view mediaType) noexcept;

// index.json, an image index or a Docker manifest list.
std::vector<IndexEntry> parseIndex(std::string_view text, const std::string& what);

// Which entry to take. tag: of the reference, empty: none given. Within an index that was reached through another one (`nested`) only the
// platform counts. Throws notFound (no such tag; no image for the platform), invalid (several images and no tag).
IndexEntry chooseEntry(const std::vector<IndexEntry>& entries, std::string_view tag, bool nested, const Platform& platform,
                       const std::string& what);

Manifest parseManifest(std::string_view text, const std::string& what);
// Also checks the types of the members that Rauha acts on (Env, Entrypoint, …).
Config parseConfig(std::string_view text, const std::string& what);
// The number of layers, and the platform. Throws invalid or unsupported.
void checkMatch(const Manifest& manifest, const Config& config, const Platform& platform, const std::string& what);

}  // namespace rauha::oci
