// A docker archive has no manifest of its own with digests. One is made from what it has (the configuration's digest, the diff_ids), always
// with the same bytes for the same image, so that it can be named and stored like any other.

#include <algorithm>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/source.h"

namespace rauha::oci {
namespace {

using nlohmann::json;

// "python" and "docker.io/library/python:latest" mean the same.
std::string canonical(std::string_view ref) {
  std::string out(ref);
  for (std::string_view prefix : {"docker.io/", "index.docker.io/", "library/"})
    if (out.rfind(prefix, 0) == 0) out.erase(0, prefix.size());
  const size_t slash = out.rfind('/');
  if (out.find(':', slash == std::string::npos ? 0 : slash) == std::string::npos) out += ":latest";
  return out;
}

class DockerArchiveSource final : public Source {
 public:
  DockerArchiveSource(std::unique_ptr<Files> files, const Reference& reference)
      : files_(std::move(files)), wanted_(reference.tag), what_("docker-archive:" + toUtf8(reference.path)) {}

  Descriptor find() override {
    const std::optional<std::string> text = files_->read("manifest.json", kJsonMax);
    if (!text) {
      if (files_->read("index.json", kJsonMax))
        throw Error("image", Code::invalid, what_ + " is an OCI archive", "write oci-archive: instead of docker-archive:");
      throw Error("image", Code::notFound, what_ + ": no manifest.json, so it is no docker archive");
    }
    const std::string name = what_ + ": manifest.json";
    const json doc = parseJson(*text, name);
    if (!doc.is_array() || doc.empty()) throw Error("image", Code::invalid, name + ": not an array of images");
    return build(pick(doc, name), name);
  }

  std::string document(const Descriptor& d, const std::string& role) override {
    if (d.digest == manifestDigest_) return manifest_;
    if (d.digest == configDigest_) return config_;
    throw Error("image", Code::internal, what_ + ": asked for " + role + " " + d.digest + ", which it does not have");
  }

  OpenFile layer(const Descriptor& d) override {
    for (const auto& [digest, file] : layers_)
      if (digest == d.digest) {
        std::optional<OpenFile> open = files_->open(file);
        if (open) return std::move(*open);
        throw Error("image", Code::notFound, what_ + ": layer file '" + toUtf8(file) + "' is missing");
      }
    throw Error("image", Code::internal, what_ + ": asked for layer " + d.digest + ", which it does not have");
  }
  bool declaresDigests() const noexcept override { return false; }

 private:
  json pick(const json& doc, const std::string& name) const {
    std::string tags;
    for (const json& image : doc) {
      if (!image.is_object()) throw Error("image", Code::invalid, name + ": an image is " + image.type_name() + ", not an object");
      if (wanted_.empty() && doc.size() == 1) return image;
      const json* repoTags = jsonArray(image, "RepoTags", name);
      if (repoTags == nullptr) continue;
      for (const json& tag : *repoTags) {
        if (!tag.is_string()) throw Error("image", Code::invalid, name + ": RepoTags holds " + tag.type_name() + ", not text");
        if (!wanted_.empty() && canonical(tag.get<std::string>()) == canonical(wanted_)) return image;
        if (tags.size() < 400) tags += (tags.empty() ? "" : ", ") + toUtf8(tag.get<std::string>().substr(0, 100));
      }
    }
    if (wanted_.empty())
      throw Error("image", Code::invalid, what_ + " holds " + std::to_string(doc.size()) + " images: which one is meant?",
                  "add its name: docker-archive:FILE:NAME:TAG; it has: " + (tags.empty() ? "no names" : tags));
    throw Error("image", Code::notFound, what_ + ": no image is called '" + toUtf8(wanted_) + "'",
                "it has: " + (tags.empty() ? "no names" : tags));
  }

  Descriptor build(const json& image, const std::string& name) {
    const std::string configFile = jsonText(image, "Config", name);
    if (configFile.empty()) throw Error("image", Code::invalid, name + ": an image has no 'Config'");
    std::optional<std::string> config = files_->read(configFile, kJsonMax);
    if (!config) throw Error("image", Code::notFound, what_ + ": configuration file '" + toUtf8(configFile) + "' is missing");
    config_ = std::move(*config);
    configDigest_ = sha256(config_);
    const Config parsed = parseConfig(config_, what_ + ": configuration");
    const json* files = jsonArray(image, "Layers", name);
    const size_t count = files == nullptr ? 0 : files->size();
    if (count != parsed.diffIds.size())
      throw Error("image", Code::invalid,
                  name + ": " + std::to_string(count) + " layers, but the configuration has " + std::to_string(parsed.diffIds.size()) +
                      " diff_ids");
    json layers = json::array();
    for (size_t i = 0; i < count; ++i) layers.push_back(layerEntry((*files)[i], parsed.diffIds[i], name));
    // The archive has no manifest of its own. An OCI one, as other tools look up a tag of an exported layout only among OCI manifests.
    constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
    const json manifest = {
        {"schemaVersion", 2},
        {"mediaType", kManifestType},
        {"config", {{"mediaType", "application/vnd.oci.image.config.v1+json"}, {"digest", configDigest_}, {"size", config_.size()}}},
        {"layers", layers}};
    manifest_ = manifest.dump();
    manifestDigest_ = sha256(manifest_);
    return {kManifestType, manifestDigest_, manifest_.size()};
  }

  json layerEntry(const json& file, const std::string& diffId, const std::string& name) {
    if (!file.is_string()) throw Error("image", Code::invalid, name + ": Layers holds " + file.type_name() + ", not text");
    const std::optional<OpenFile> open = files_->open(file.get<std::string>());
    if (!open)
      throw Error("image", Code::notFound, what_ + ": layer file '" + toUtf8(file.get<std::string>().substr(0, 200)) + "' is missing");
    layers_.emplace_back(diffId, file.get<std::string>());
    return {{"mediaType", "application/vnd.oci.image.layer.v1.tar"}, {"digest", diffId}, {"size", open->size}};
  }

  std::unique_ptr<Files> files_;
  std::string wanted_, what_, manifest_, manifestDigest_, config_, configDigest_;
  std::vector<std::pair<std::string, std::string>> layers_;  // diff_id, file
};

}  // namespace

std::unique_ptr<Source> dockerArchiveSource(std::unique_ptr<Files> files, const Reference& reference) {
  return std::make_unique<DockerArchiveSource>(std::move(files), reference);
}

}  // namespace rauha::oci
