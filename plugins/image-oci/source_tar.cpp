#include "plugins/image-oci/source_tar.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";
constexpr const char* kLayerType = "application/vnd.oci.image.layer.v1.tar";

class TarSource final : public Source {
 public:
  TarSource(const PreparedLayer& layer, const std::string& compression, const Reference& reference)
      : what_("tar:" + toUtf8(reference.path)) {
    const Platform platform = hostPlatform();
    nlohmann::ordered_json config = {{"architecture", platform.architecture}, {"os", platform.os}};
    if (!platform.variant.empty()) config["variant"] = platform.variant;
    config["config"] = nlohmann::ordered_json::object();
    config["rootfs"] = {{"type", "layers"}, {"diff_ids", {layer.diffId}}};
    config["history"] = nlohmann::ordered_json::array({{{"created_by", "rauha image import tar:"}}});
    config_ = config.dump();
    configDigest_ = sha256(config_);
    const nlohmann::ordered_json manifest = {
        {"schemaVersion", 2},
        {"mediaType", kManifestType},
        {"config", {{"mediaType", kConfigType}, {"digest", configDigest_}, {"size", config_.size()}}},
        {"layers",
         nlohmann::ordered_json::array({{{"mediaType", kLayerType + compression}, {"digest", layer.blob}, {"size", layer.blobSize}}})}};
    manifest_ = manifest.dump();
  }
  Descriptor find() override { return {kManifestType, sha256(manifest_), manifest_.size()}; }
  std::string document(const Descriptor& d, const std::string&) override { return d.digest == configDigest_ ? config_ : manifest_; }
  OpenFile layer(const Descriptor& d) override {
    throw Error("image", Code::internal, what_ + ": layer " + d.digest + " is not in the store any more", "run the import again");
  }
  bool declaresDigests() const noexcept override { return true; }

 private:
  std::string what_, config_, configDigest_, manifest_;
};

std::string compressionOf(int fd, const std::string& what) {
  std::array<unsigned char, 4> head{};
  if (pread(fd, head.data(), head.size(), 0) < 0) throwIo("read " + what);
  if (head[0] == 0x1f && head[1] == 0x8b) return "+gzip";
  if (head == std::array<unsigned char, 4>{0x28, 0xb5, 0x2f, 0xfd}) return "+zstd";
  return {};
}

// A tar ends with blocks of zeros (POSIX, ustar). A layer without them is taken as it is; of a file that somebody copied, a missing end
// says that the rest is missing too, which no header would tell.
void needEnd(int fd, uint64_t size, const std::string& what) {
  std::array<char, 512> end{};
  const bool whole = size >= end.size() && size % end.size() == 0 &&
                     pread(fd, end.data(), end.size(), static_cast<off_t>(size - end.size())) == static_cast<ssize_t>(end.size());
  if (!whole || std::any_of(end.begin(), end.end(), [](char c) { return c != 0; }))
    throw Error("image", Code::corrupt, what + " has no end-of-archive mark: it is cut off, or no tar file (plain, gzip or zstd)",
                "copy or make it again");
}

}  // namespace

TarFile openTar(int fileFd, const std::string& what) {
  struct stat meta {};
  if (fstat(fileFd, &meta) != 0) throwIo("stat " + what);
  if (S_ISDIR(meta.st_mode))
    throw Error("image", Code::invalid, what + " is a directory, not a tar file",
                "for a directory that is a root file system write dir:DIR");
  if (!S_ISREG(meta.st_mode)) throw Error("image", Code::invalid, what + " is not a regular file");
  if (meta.st_size == 0) throw Error("image", Code::corrupt, what + " is empty");
  const auto size = static_cast<uint64_t>(meta.st_size);
  std::string compression = compressionOf(fileFd, what);
  // A compressed one says itself where it ends.
  if (compression.empty()) needEnd(fileFd, size, what);
  return {{streamFile(duplicate(fileFd), 0, size, what), size, {}}, std::move(compression)};
}

std::unique_ptr<Source> tarSource(const PreparedLayer& layer, const std::string& compression, const Reference& reference) {
  return std::make_unique<TarSource>(layer, compression, reference);
}

}  // namespace rauha::oci
