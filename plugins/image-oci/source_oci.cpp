#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/source.h"

namespace rauha::oci {
namespace {

class OciSource final : public Source {
 public:
  OciSource(std::unique_ptr<Files> files, const Reference& reference)
      : files_(std::move(files)),
        tag_(reference.tag),
        digest_(reference.digest),
        what_(std::string(reference.source()) + ":" + toUtf8(reference.path)) {}

  Descriptor find() override {
    checkLayout();
    const std::optional<std::string> index = files_->read("index.json", kJsonMax);
    if (!index) throw Error("image", Code::notFound, what_ + ": no index.json, so it is no OCI image layout");
    IndexEntry entry = choose(parseIndex(*index, what_ + ": index.json"));
    for (size_t depth = 1; entry.isIndex; ++depth) {
      if (depth > kIndexDepthMax)
        throw Error("image", Code::limit, what_ + ": an index within an index, more than " + std::to_string(kIndexDepthMax) + " deep");
      const std::string name = what_ + ": index " + entry.descriptor.digest;
      entry = chooseEntry(parseIndex(document(entry.descriptor, "index"), name), {}, true, hostPlatform(), name);
    }
    const std::string& type = entry.descriptor.mediaType;
    if (type.find("distribution.manifest.v1+") != std::string::npos)
      throw Error("image", Code::unsupported, what_ + ": docker manifest schema 1 is not supported",
                  "convert it: skopeo copy --format oci SOURCE oci:DIR");
    if (!type.empty() && !isManifestType(type))
      throw Error("image", Code::unsupported,
                  what_ + ": " + entry.descriptor.digest + " is of type '" + toUtf8(std::string_view(type).substr(0, 120)) +
                      "', which is no image manifest");
    return entry.descriptor;
  }

  std::string document(const Descriptor& d, const std::string& role) override {
    const std::string name = what_ + ": " + role + " " + d.digest;
    if (d.size > kJsonMax)
      throw Error("image", Code::limit, name + " is " + std::to_string(d.size) + " bytes, more than " + std::to_string(kJsonMax));
    OpenFile file = open(d, role);
    checkSize(name, d.size, file.size);
    std::string text = drain(*file.stream, kJsonMax, name);
    checkDigest(name, d.digest, sha256(text));
    return text;
  }

  OpenFile layer(const Descriptor& d) override { return open(d, "layer"); }
  bool declaresDigests() const noexcept override { return true; }

 private:
  OpenFile open(const Descriptor& d, const std::string& role) {
    std::optional<OpenFile> file = files_->open("blobs/sha256/" + d.digest.substr(7));
    if (!file)
      throw Error("image", Code::notFound, what_ + ": the " + role + " " + d.digest + " is missing",
                  "the image is incomplete; copy it again");
    return std::move(*file);
  }

  void checkLayout() {
    const std::optional<std::string> layout = files_->read("oci-layout", kJsonMax);
    if (!layout) throw Error("image", Code::notFound, what_ + ": no file 'oci-layout', so it is no OCI image layout");
    const auto doc = parseJson(*layout, what_ + ": oci-layout");
    const std::string version = doc.is_object() ? jsonText(doc, "imageLayoutVersion", what_ + ": oci-layout") : std::string();
    if (version.rfind("1.", 0) != 0)
      throw Error("image", Code::unsupported,
                  what_ + ": imageLayoutVersion is '" + toUtf8(std::string_view(version).substr(0, 40)) + "', not 1.0.0");
  }

  IndexEntry choose(const std::vector<IndexEntry>& entries) const {
    if (digest_.empty()) return chooseEntry(entries, tag_, false, hostPlatform(), what_);
    for (const IndexEntry& e : entries)
      if (e.descriptor.digest == digest_) return e;
    throw Error("image", Code::notFound, what_ + ": its index does not name " + digest_);
  }

  std::unique_ptr<Files> files_;
  std::string tag_, digest_, what_;
};

}  // namespace

std::unique_ptr<Source> ociSource(std::unique_ptr<Files> files, const Reference& reference) {
  return std::make_unique<OciSource>(std::move(files), reference);
}

}  // namespace rauha::oci
