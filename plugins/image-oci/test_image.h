#pragma once
// Images for tests: an OCI layout, an OCI archive or a docker archive made of tar texts, honest or not. Tests only.

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/digest.h"
#include "plugins/image-oci/test_directory.h"
#include "plugins/image-oci/test_tar.h"

namespace rauha::oci::test {

struct TestLayer {
  std::string tar;
  std::string compression = "gzip";  // "none", "gzip", "zstd"
  std::string blob = {};             // instead of the compressed tar
  std::string digest = {};           // declared, instead of the blob's
  int64_t sizeOffset = 0;            // added to the declared size
  std::string diffId = {};           // declared, instead of the tar's
};

class TestImage {
 public:
  explicit TestImage(std::vector<TestLayer> layers, const std::string& command = "/bin/sh") : layers_(std::move(layers)) {
    using nlohmann::json;
    json diffIds = json::array(), descriptors = json::array();
    for (const TestLayer& l : layers_) {
      const std::string data = !l.blob.empty() ? l.blob : l.compression == "none" ? l.tar : packed(l.tar, l.compression.c_str());
      const std::string digest = l.digest.empty() ? sha256(data) : l.digest;
      blobs_.emplace_back(digest, data);
      diffIds.push_back(l.diffId.empty() ? sha256(l.tar) : l.diffId);
      descriptors.push_back(
          {{"mediaType", "application/vnd.oci.image.layer.v1.tar" + (l.compression == "none" ? std::string() : "+" + l.compression)},
           {"digest", digest},
           {"size", static_cast<int64_t>(data.size()) + l.sizeOffset}});
    }
    config = json({{"os", "linux"},
                   {"architecture", kArchitecture},
                   {"config", {{"Cmd", {command}}}},
                   {"rootfs", {{"type", "layers"}, {"diff_ids", diffIds}}}})
                 .dump();
    manifest =
        json({{"schemaVersion", 2},
              {"config", {{"mediaType", "application/vnd.oci.image.config.v1+json"}, {"digest", sha256(config)}, {"size", config.size()}}},
              {"layers", descriptors}})
            .dump();
  }

  // Adds to a layout that is there.
  void writeLayout(const std::string& dir, const std::string& tag = "latest") {
    for (const auto& [name, content] : files(tag)) spill(dir + "/" + name, content);
  }
  void writeOciArchive(const std::string& path, const std::string& tag = "latest", const char* compression = nullptr) {
    TarWriter tar;
    for (const auto& [name, content] : files(tag)) tar.add({.name = name, .content = content});
    spill(path, compression == nullptr ? tar.finish() : packed(tar.finish(), compression));
  }
  void writeDockerArchive(const std::string& path, const std::string& name = "test:latest") {
    nlohmann::json layers = nlohmann::json::array();
    TarWriter tar;
    tar.add({.name = "config.json", .content = config});
    for (size_t i = 0; i < layers_.size(); ++i) {
      const std::string file = std::to_string(i) + "/layer.tar";
      layers.push_back(file);
      tar.add({.name = file, .content = layers_[i].blob.empty() ? layers_[i].tar : layers_[i].blob});
    }
    tar.add({.name = "manifest.json",
             .content = nlohmann::json::array({{{"Config", "config.json"}, {"RepoTags", {name}}, {"Layers", layers}}}).dump()});
    spill(path, tar.finish());
  }

  std::string config, manifest;  // may be changed before writing

 private:
#if defined(__x86_64__)
  static constexpr const char* kArchitecture = "amd64";
#else
  static constexpr const char* kArchitecture = "arm64";
#endif
  std::vector<std::pair<std::string, std::string>> files(const std::string& tag) const {
    const nlohmann::json index = {{"schemaVersion", 2},
                                  {"manifests",
                                   {{{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                                     {"digest", sha256(manifest)},
                                     {"size", manifest.size()},
                                     {"annotations", {{"org.opencontainers.image.ref.name", tag}}}}}}};
    std::vector<std::pair<std::string, std::string>> out = {{"oci-layout", R"({"imageLayoutVersion":"1.0.0"})"},
                                                            {"index.json", index.dump()}};
    for (const auto& [digest, data] : blobs_) out.emplace_back("blobs/sha256/" + digest.substr(7), data);
    out.emplace_back("blobs/sha256/" + sha256(manifest).substr(7), manifest);
    out.emplace_back("blobs/sha256/" + sha256(config).substr(7), config);
    return out;
  }
  std::vector<TestLayer> layers_;
  std::vector<std::pair<std::string, std::string>> blobs_;
};

}  // namespace rauha::oci::test
