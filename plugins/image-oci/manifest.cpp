#include "plugins/image-oci/manifest.h"

#include <algorithm>
#include <array>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"

namespace rauha::oci {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 2> kIndexTypes = {"application/vnd.oci.image.index.v1+json",
                                                         "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::array<std::string_view, 2> kManifestTypes = {"application/vnd.oci.image.manifest.v1+json",
                                                            "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::array<std::string_view, 2> kConfigTypes = {"application/vnd.oci.image.config.v1+json",
                                                          "application/vnd.docker.container.image.v1+json"};
// The compression is read from the blob's first bytes, as all others do: builders exist whose media type says something else.
constexpr std::array<std::string_view, 12> kLayerTypes = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
};

template <size_t N>
bool among(const std::array<std::string_view, N>& list, std::string_view text) noexcept {
  return std::find(list.begin(), list.end(), text) != list.end();
}

std::string shown(std::string_view text) { return "'" + toUtf8(text.substr(0, 120)) + "'"; }

[[noreturn]] void invalid(const std::string& what, const std::string& why) { throw Error("image", Code::invalid, what + ": " + why); }
[[noreturn]] void unsupported(const std::string& what, const std::string& why, std::string hint = {}) {
  throw Error("image", Code::unsupported, what + ": " + why, std::move(hint));
}

json parseObject(std::string_view text, const std::string& what) {
  json doc = parseJson(text, what);
  if (!doc.is_object()) invalid(what, std::string("the document is ") + doc.type_name() + ", not an object");
  return doc;
}

// Docker's first manifest format; it has no content addresses, so nothing of it could be verified.
void refuseSchema1(const json& doc, const std::string& what) {
  const std::string type = jsonText(doc, "mediaType", what);
  const bool byType = type.find("distribution.manifest.v1+") != std::string::npos;
  if (byType || doc.contains("fsLayers") || jsonNumber(doc, "schemaVersion", what, 2) == 1)
    unsupported(what, "docker manifest schema 1 is not supported", "convert it: skopeo copy --format oci SOURCE oci:DIR");
}

void checkVersion(const json& doc, const std::string& what) {
  refuseSchema1(doc, what);
  const uint64_t version = jsonNumber(doc, "schemaVersion", what, 2);
  if (version != 2) unsupported(what, "schemaVersion is " + std::to_string(version) + ", not 2");
}

Descriptor parseDescriptor(const json& value, const std::string& what) {
  if (!value.is_object()) invalid(what, std::string("a descriptor is ") + value.type_name() + ", not an object");
  Descriptor out;
  out.mediaType = jsonText(value, "mediaType", what);
  out.digest = jsonText(value, "digest", what);
  if (out.digest.empty()) invalid(what, "a descriptor has no digest");
  if (!isSha256(out.digest)) {
    if (out.digest.rfind("sha512:", 0) == 0) unsupported(what, "digest " + shown(out.digest) + ": only sha256 is supported");
    invalid(what, "digest " + shown(out.digest) + " is not sha256:<64 lower-case hex digits>");
  }
  if (!value.contains("size")) invalid(what, "descriptor " + out.digest + " has no size");
  out.size = jsonNumber(value, "size", what);
  if (out.size > uint64_t{1} << 62) invalid(what, "descriptor " + out.digest + " has size " + std::to_string(out.size));
  return out;
}

std::string annotation(const json& value, const char* key, const std::string& what) {
  const json* all = jsonObject(value, "annotations", what);
  return all == nullptr ? std::string() : jsonText(*all, key, what);
}

IndexEntry parseEntry(const json& value, const std::string& what) {
  IndexEntry out;
  out.descriptor = parseDescriptor(value, what);
  out.isIndex = isIndexType(out.descriptor.mediaType);
  out.refName = annotation(value, "org.opencontainers.image.ref.name", what);
  out.containerName = annotation(value, "io.containerd.image.name", what);
  out.isAttestation = annotation(value, "vnd.docker.reference.type", what) == "attestation-manifest";
  if (const json* platform = jsonObject(value, "platform", what))
    out.platform =
        Platform{jsonText(*platform, "os", what), jsonText(*platform, "architecture", what), jsonText(*platform, "variant", what)};
  return out;
}

// An entry without a platform may be anything; its configuration is checked later.
bool fits(const IndexEntry& entry, const Platform& host) {
  if (!entry.platform) return true;
  if (entry.platform->os != host.os || entry.platform->architecture != host.architecture) return false;
  // amd64/v2 and later need features that we do not probe; arm64 is always v8.
  return entry.platform->variant.empty() || entry.platform->variant == host.variant || host.architecture == "arm64";
}

std::string listOf(const std::vector<const IndexEntry*>& entries, bool platforms) {
  std::string out;
  for (size_t i = 0; i < entries.size() && i < 8; ++i) {
    const IndexEntry& e = *entries[i];
    const std::string name = platforms ? (e.platform ? e.platform->text() : "") : (e.refName.empty() ? e.descriptor.digest : e.refName);
    if (!name.empty()) out += (out.empty() ? "" : ", ") + toUtf8(std::string_view(name).substr(0, 100));
  }
  if (entries.size() > 8) out += ", …";
  return out.empty() ? "none" : out;
}

void checkTextArray(const json& object, const char* key, const std::string& what) {
  const json* array = jsonArray(object, key, what);
  if (array == nullptr) return;
  for (const json& item : *array)
    if (!item.is_string()) invalid(what, std::string("'") + key + "' holds " + item.type_name() + ", not text");
}

}  // namespace

std::string Platform::text() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Platform parsePlatform(std::string_view text) {
  std::vector<std::string> parts;
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'; };
  for (size_t at = 0; at <= text.size() && parts.size() < 4;) {
    const size_t end = std::min(text.find('/', at), text.size());
    const std::string_view part = text.substr(at, end - at);
    if (part.empty() || part.size() > 32 || !std::all_of(part.begin(), part.end(), good)) break;
    parts.emplace_back(part);
    at = end + 1;
  }
  std::string joined;
  for (const auto& part : parts) joined += (joined.empty() ? "" : "/") + part;
  if (parts.size() < 2 || parts.size() > 3 || joined != text)
    throw Error("image", Code::invalid, "platform " + shown(text) + " is not OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT",
                "write it as linux/amd64, linux/arm64 or linux/arm/v7");
  Platform out{parts[0], parts[1], parts.size() == 3 ? parts[2] : ""};
  if (out.architecture == "arm64" && out.variant.empty()) out.variant = "v8";
  return out;
}

Platform hostPlatform() {
#if defined(__x86_64__)
  return {"linux", "amd64", ""};
#elif defined(__aarch64__)
  return {"linux", "arm64", "v8"};
#elif defined(__riscv) && __riscv_xlen == 64
  return {"linux", "riscv64", ""};
#else
#error "name this processor as the Go language does"
#endif
}

bool isIndexType(std::string_view mediaType) noexcept { return among(kIndexTypes, mediaType); }
bool isManifestType(std::string_view mediaType) noexcept { return among(kManifestTypes, mediaType); }

std::vector<IndexEntry> parseIndex(std::string_view text, const std::string& what) {
  const json doc = parseObject(text, what);
  checkVersion(doc, what);
  const std::string type = jsonText(doc, "mediaType", what);
  if (!type.empty() && !isIndexType(type)) unsupported(what, "media type " + shown(type) + " is not an image index");
  const json* manifests = jsonArray(doc, "manifests", what);
  if (manifests == nullptr) invalid(what, "no 'manifests'");
  if (manifests->size() > kIndexEntriesMax)
    throw Error("image", Code::limit,
                what + ": " + std::to_string(manifests->size()) + " manifests, more than " + std::to_string(kIndexEntriesMax));
  std::vector<IndexEntry> out;
  for (const json& m : *manifests) out.push_back(parseEntry(m, what));
  return out;
}

IndexEntry chooseEntry(const std::vector<IndexEntry>& entries, std::string_view tag, bool nested, const Platform& platform,
                       const std::string& what) {
  std::vector<const IndexEntry*> all, tagged, fitting;
  for (const IndexEntry& e : entries)
    if (!e.isAttestation) all.push_back(&e);
  if (all.empty()) throw Error("image", Code::notFound, what + " holds no image");
  tagged = all;
  if (!nested) {
    const std::string_view wanted = tag.empty() ? std::string_view("latest") : tag;
    std::vector<const IndexEntry*> match;
    for (const IndexEntry* e : all)
      if (e->refName == wanted || (!tag.empty() && e->containerName == wanted)) match.push_back(e);
    if (match.empty() && !tag.empty())
      throw Error("image", Code::notFound, what + ": no image is tagged " + shown(tag), "its tags: " + listOf(all, false));
    if (!match.empty()) tagged = match;
  }
  for (const IndexEntry* e : tagged)
    if (fits(*e, platform)) fitting.push_back(e);
  if (fitting.empty())
    throw Error("image", Code::notFound, what + ": no image for " + platform.text(), "it has images for: " + listOf(tagged, true));
  if (!nested && fitting.size() > 1 && tag.empty() && fitting.front()->refName != fitting.back()->refName)
    throw Error("image", Code::invalid, what + " holds " + std::to_string(fitting.size()) + " images: which one is meant?",
                "add a tag, for example oci:DIR:TAG; its tags: " + listOf(fitting, false));
  for (const IndexEntry* e : fitting)  // an exact platform before one that says nothing
    if (e->platform) return *e;
  return *fitting.front();
}

Manifest parseManifest(std::string_view text, const std::string& what) {
  const json doc = parseObject(text, what);
  checkVersion(doc, what);
  const std::string type = jsonText(doc, "mediaType", what);
  if (!type.empty() && !isManifestType(type)) unsupported(what, "media type " + shown(type) + " is not an image manifest");
  const json* config = jsonObject(doc, "config", what);
  if (config == nullptr) invalid(what, "no 'config'");
  Manifest out;
  out.config = parseDescriptor(*config, what);
  if (!among(kConfigTypes, out.config.mediaType))
    unsupported(what, "its configuration is of type " + shown(out.config.mediaType) + ", so it is not a container image");
  if (out.config.size > kJsonMax)
    throw Error("image", Code::limit,
                what + ": the configuration is " + std::to_string(out.config.size) + " bytes, more than " + std::to_string(kJsonMax));
  out.mediaType = !type.empty() ? type : std::string(kManifestTypes[out.config.mediaType == kConfigTypes[1] ? 1 : 0]);
  const json* layers = jsonArray(doc, "layers", what);
  if (layers == nullptr) invalid(what, "no 'layers'");
  if (layers->size() > kLayersMax)
    throw Error(
        "image", Code::limit,
        what + ": " + std::to_string(layers->size()) + " layers, more than the " + std::to_string(kLayersMax) + " that overlayfs stacks");
  for (const json& l : *layers) {
    Descriptor d = parseDescriptor(l, what);
    if (!among(kLayerTypes, d.mediaType))
      unsupported(what, "layer " + d.digest + " is of type " + shown(d.mediaType) + ", which Rauha does not know");
    out.layers.push_back(std::move(d));
  }
  return out;
}

Config parseConfig(std::string_view text, const std::string& what) {
  const json doc = parseObject(text, what);
  Config out;
  out.platform = {jsonText(doc, "os", what), jsonText(doc, "architecture", what), jsonText(doc, "variant", what)};
  const json* rootfs = jsonObject(doc, "rootfs", what);
  if (rootfs == nullptr) invalid(what, "no 'rootfs'");
  if (const std::string type = jsonText(*rootfs, "type", what); type != "layers")
    invalid(what, "rootfs.type is " + shown(type) + ", not 'layers'");
  const json* diffIds = jsonArray(*rootfs, "diff_ids", what);
  if (diffIds != nullptr)
    for (const json& d : *diffIds) {
      if (!d.is_string() || !isSha256(d.get_ref<const std::string&>()))
        invalid(what, "rootfs.diff_ids holds something that is no sha256 digest");
      out.diffIds.push_back(d.get<std::string>());
      if (out.diffIds.size() > kLayersMax)
        throw Error("image", Code::limit, what + ": more than " + std::to_string(kLayersMax) + " diff_ids");
    }
  if (const json* run = jsonObject(doc, "config", what)) {
    for (const char* key : {"Env", "Entrypoint", "Cmd"}) checkTextArray(*run, key, what);
    for (const char* key : {"WorkingDir", "User", "StopSignal"}) jsonText(*run, key, what);
    for (const char* key : {"Volumes", "Labels", "ExposedPorts"}) jsonObject(*run, key, what);
  }
  return out;
}

void checkMatch(const Manifest& manifest, const Config& config, const Platform& platform, const std::string& what) {
  if (manifest.layers.size() != config.diffIds.size())
    invalid(what, "the manifest has " + std::to_string(manifest.layers.size()) + " layers, the configuration " +
                      std::to_string(config.diffIds.size()) + " diff_ids");
  const bool os = config.platform.os.empty() || config.platform.os == platform.os;
  const bool arch = config.platform.architecture.empty() || config.platform.architecture == platform.architecture;
  if (!os || !arch)
    unsupported(what, "the image is for " + config.platform.text() + ", this machine is " + platform.text(),
                "take an image for " + platform.text());
}

}  // namespace rauha::oci
