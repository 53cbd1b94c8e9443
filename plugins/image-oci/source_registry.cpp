#include "plugins/image-oci/source_registry.h"

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <type_traits>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/registry/partial_blob.h"

namespace rauha::oci {
namespace {

constexpr uint64_t kPartialMin = 1u << 20;  // smaller blobs come again as fast as they are read

// What is on disk of the blob, then what the registry sends, which goes to disk too.
class BlobStream final : public ByteStream {
 public:
  BlobStream(RegistryClient& client, const Descriptor& d, std::unique_ptr<PartialBlob> partial)
      : client_(client), descriptor_(d), partial_(std::move(partial)) {
    if (partial_ && partial_->size() > 0) before_ = streamFile(duplicate(partial_->fd()), 0, partial_->size(), "blob " + d.digest);
  }
  std::string_view next() override {
    if (before_) {
      const std::string_view block = before_->next();
      at_ += block.size();
      if (!block.empty()) return block;
      before_.reset();
    }
    if (!body_) body_ = client_.openBlob(descriptor_.digest, at_, descriptor_.size, &stop_);
    const std::string_view block = body_->next();
    at_ += block.size();
    if (partial_) partial_->append(block);
    return block;
  }
  void interrupt() noexcept override { stop_ = true; }

 private:
  RegistryClient& client_;
  const Descriptor descriptor_;
  std::atomic<bool> stop_{false};
  std::unique_ptr<PartialBlob> partial_;
  std::unique_ptr<ByteStream> before_;
  std::unique_ptr<RegistryClient::Body> body_;
  uint64_t at_ = 0;
};

class RegistrySource final : public Source {
 public:
  RegistrySource(RegistryClient& client, const StoreRoot& store, uint32_t parallel, RegistryPull pull)
      : client_(client),
        store_(store),
        parallel_(parallel),
        pull_(std::move(pull)),
        what_(client.target().domain + "/" + client.target().repository + (pull_.digest.empty() ? ":" + pull_.tag : "@" + pull_.digest)) {}

  Descriptor find() override {
    Descriptor top = first();
    for (size_t depth = 1; isIndexType(top.mediaType); ++depth) {
      if (depth > kIndexDepthMax)
        throw Error("image", Code::limit, what_ + ": an index within an index, more than " + std::to_string(kIndexDepthMax) + " deep");
      const std::string name = what_ + ": index " + top.digest;
      top = chooseEntry(parseIndex(document(top, "index"), name), {}, true, pull_.platform, name).descriptor;
    }
    if (!isManifestType(top.mediaType))
      throw Error("image", Code::unsupported,
                  what_ + ": " + top.digest + " is of type '" + toUtf8(std::string_view(top.mediaType).substr(0, 120)) +
                      "', which is no image manifest");
    return top;
  }

  std::string document(const Descriptor& d, const std::string& role) override {
    const std::string name = what_ + ": " + role + " " + d.digest;
    if (d.size > kJsonMax)
      throw Error("image", Code::limit, name + " is " + std::to_string(d.size) + " bytes, more than " + std::to_string(kJsonMax));
    if (d.digest == topDigest_) return top_;
    if (auto stored = pull_.stored(d.digest)) return std::move(*stored);
    return verified([&] {
      std::string text = role == "configuration" ? client_.blob(d.digest) : client_.manifest(d.digest).text;
      checkSize(name, d.size, text.size());
      checkDigest(name, d.digest, sha256(text));
      return text;
    });
  }

  OpenFile layer(const Descriptor& d) override {
    std::unique_ptr<PartialBlob> partial;
    if (d.size >= kPartialMin) partial = PartialBlob::open(store_, d.digest, d.size);
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      if (partial && partial->size() > 0) resumed_.insert(d.digest);
      if (client_.usesMirrors()) mirrored_.insert(d.digest);
    }
    const std::string inTmp = partial ? PartialBlob::nameOf(d.digest) : std::string();
    UniqueFd held = partial ? duplicate(partial->fd()) : UniqueFd();
    return OpenFile{std::make_unique<BlobStream>(client_, d, std::move(partial)), d.size, inTmp, std::move(held)};
  }
  bool declaresDigests() const noexcept override { return true; }
  uint32_t parallel() const noexcept override { return parallel_; }

  void abandon() noexcept override { client_.abandon(); }
  bool settled(const Descriptor& d, bool good) override {
    if (d.size >= kPartialMin) PartialBlob::remove(store_, d.digest);
    if (good) return false;
    const std::lock_guard<std::mutex> guard(mutex_);
    if (resumed_.erase(d.digest) > 0) return true;
    if (mirrored_.erase(d.digest) == 0) return false;
    client_.dropMirrors();
    return true;
  }

 private:
  // Once more of the registry alone when the bytes may have been a mirror's.
  template <typename F>
  std::invoke_result_t<F> verified(F fetch) {
    const bool mirrored = client_.usesMirrors();
    try {
      return fetch();
    } catch (const Error& e) {
      if (!mirrored || e.code() != Code::corrupt) throw;
    }
    client_.dropMirrors();
    return fetch();
  }

  // What the tag or digest names. Its type is what it says itself; then what the server says.
  Descriptor first() {
    if (!pull_.digest.empty())
      if (auto stored = pull_.stored(pull_.digest)) return take(std::move(*stored), {});
    RegistryClient::Document got = verified([&] {
      RegistryClient::Document some = client_.manifest(pull_.digest.empty() ? pull_.tag : pull_.digest);
      if (!pull_.digest.empty()) checkDigest(what_ + ": manifest", pull_.digest, sha256(some.text));
      return some;
    });
    return take(std::move(got.text), got.mediaType);
  }

  Descriptor take(std::string text, const std::string& served) {
    const std::string name = what_ + ": manifest";
    const auto doc = parseJson(text, name);
    if (!doc.is_object()) throw Error("image", Code::invalid, name + " is " + doc.type_name() + ", not an object");
    std::string type = jsonText(doc, "mediaType", name);
    if (type.empty() && (isIndexType(served) || isManifestType(served))) type = served;
    if (type.empty())
      type = doc.contains("manifests") ? "application/vnd.oci.image.index.v1+json" : "application/vnd.oci.image.manifest.v1+json";
    if (served.find("distribution.manifest.v1+") != std::string::npos || type.find("distribution.manifest.v1+") != std::string::npos ||
        doc.contains("fsLayers"))
      throw Error("image", Code::unsupported, what_ + ": docker manifest schema 1 is not supported",
                  "push it again with a tool of today, or convert it: skopeo copy --format oci SOURCE oci:DIR");
    topDigest_ = sha256(text);
    top_ = std::move(text);
    return Descriptor{type, topDigest_, top_.size()};
  }

  RegistryClient& client_;
  const StoreRoot& store_;
  const uint32_t parallel_;
  const RegistryPull pull_;
  const std::string what_;
  std::string top_, topDigest_;
  std::mutex mutex_;
  std::set<std::string> resumed_, mirrored_;  // blobs under way that began with what was kept, or may have come from a mirror
};

}  // namespace

std::unique_ptr<Source> registrySource(RegistryClient& client, const StoreRoot& store, uint32_t parallel, RegistryPull pull) {
  return std::make_unique<RegistrySource>(client, store, parallel, std::move(pull));
}

}  // namespace rauha::oci
