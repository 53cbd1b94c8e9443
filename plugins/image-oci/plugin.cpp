// The plugin's border: rauha.image/1 to the image library and back. Nothing is decided here.

#include <rauha/plugin.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "core/base/error.h"
#include "plugins/image-oci/config.h"
#include "plugins/image-oci/library.h"

namespace rauha::oci {
namespace {

// The library's errors carry the same numbers as rauha_status.
template <typename F>
auto guarded(F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw sdk::Error(static_cast<rauha_status>(e.code()), e.text(), e.hint());
  }
}

class ImageOci {
 public:
  ImageOci(sdk::Host host, std::string_view config)
      : host_(host), library_(guarded([&] {
          PluginConfig read = readConfig(config);
          return std::make_unique<ImageLibrary>(std::string(host.stateDir()) + "/plugins/image-oci", read.limits,
                                                std::move(read.registries), read.keepBlobs);
        })) {}

  void resolve(sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] { push(library_->resolve(requestOf(request, kResolveTags), watchOf(call)), sink); });
  }
  void inspect(sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] { push(library_->inspect(requestOf(request), watchOf(call)), sink); });
  }
  void importImage(sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] { push(library_->importImage(requestOf(request), watchOf(call)), sink); });
  }
  void list(sdk::Call&, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] {
      (void)requestOf(request);  // refuses what it does not know
      for (const Resolved& image : library_->list()) push(image, sink);
    });
  }
  void prune(sdk::Call&, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] {
      for (const Resolved& image : library_->prune(requestOf(request, {RAUHA_IMAGE_ALL}).all)) push(image, sink);
    });
  }
  void exportImage(sdk::Call& call, const rauha_image_request& request, int32_t target, const rauha_image_sink& sink) {
    guarded([&] { push(library_->exportImage(requestOf(request), target, watchOf(call)), sink); });
  }
  void verify(sdk::Call& call, const rauha_image_request& request, const rauha_image_sink& sink) {
    guarded([&] {
      if (!RAUHA_HAS(&sink, check) || sink.check == nullptr)
        throw Error("image", Code::unsupported, "the daemon takes no checks", "use a daemon as new as the plugin");
      for (const Check& check : library_->verify(requestOf(request), watchOf(call))) pushCheck(check, sink);
    });
  }
  void release(sdk::Call&, std::string_view lease) {
    guarded([&] { library_->release(lease); });
  }
  void remove(sdk::Call&, const rauha_image_request& request) {
    guarded([&] { library_->remove(requestOf(request).reference); });
  }
  void reconcile(sdk::Call&, const std::vector<std::string_view>& leases) {
    guarded([&] { library_->reconcile(leases); });
  }

 private:
  static constexpr std::initializer_list<uint32_t> kResolveTags = {RAUHA_IMAGE_PULL, RAUHA_IMAGE_PLATFORM, RAUHA_IMAGE_CREDENTIALS,
                                                                   RAUHA_IMAGE_REQUIRE_DIGEST, RAUHA_IMAGE_REGISTRY};

  // A record that the function does not have is refused like an unknown one.
  static Request requestOf(const rauha_image_request& raw, std::initializer_list<uint32_t> tags = {}) {
    sdk::refuseUnknownFlags(raw.flags, 0, "image request");
    Request out;
    sdk::eachRecord(raw.records, "image request", [&](const rauha_record& record) {
      if (std::find(tags.begin(), tags.end(), record.tag) == tags.end()) return false;
      readRecord(record, out);
      return true;
    });
    out.reference = sdk::view(raw.reference);
    out.sourceFd = raw.source_fd_borrow;
    out.caller = {raw.caller_uid, raw.caller_gid};
    out.lease = sdk::view(raw.lease);
    out.name = sdk::view(raw.name);
    return out;
  }
  static void readRecord(const rauha_record& record, Request& out) {
    switch (record.tag) {
      case RAUHA_IMAGE_PULL:
        if (record.number > RAUHA_PULL_NEVER)
          throw Error("image", Code::unsupported, "image request: unknown pull policy " + std::to_string(record.number));
        out.pull = record.number == RAUHA_PULL_ALWAYS ? Pull::always : record.number == RAUHA_PULL_NEVER ? Pull::never : Pull::missing;
        break;
      case RAUHA_IMAGE_PLATFORM:
        out.platform = parsePlatform(sdk::view(record.text));
        break;
      case RAUHA_IMAGE_CREDENTIALS:
        out.credentials = parseCredentials(sdk::view(record.text));
        break;
      case RAUHA_IMAGE_REQUIRE_DIGEST:
        out.requireDigest = true;
        break;
      case RAUHA_IMAGE_REGISTRY:
        out.registries.emplace_back(sdk::view(record.text));
        break;
      default:
        out.all = true;
    }
  }
  static Watch watchOf(const sdk::Call& call) {
    return {[&call] { call.check(); }, [&call](std::string_view what, uint64_t done, uint64_t total) { call.progress(what, done, total); },
            call.cancelFd()};
  }
  static rauha_str optional(std::string_view text) { return text.empty() ? rauha_str{nullptr, 0} : sdk::str(text); }

  void push(const Resolved& image, const rauha_image_sink& sink) const {
    for (const std::string& note : image.notes) host_.log(RAUHA_LOG_INFO, "image " + image.reference + ": " + note);
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = sdk::str(image.reference);
    info.digest = optional(image.digest);
    info.source = sdk::str(image.source);
    info.config_json = optional(image.configJson);
    info.size = image.bytes;
    info.created_ns = image.createdNs;
    sink.info(sink.context, &info);
    for (const ResolvedLayer& layer : image.layers) pushLayer(layer, sink);
    for (const HostEntry& entry : image.mounts) pushMount(entry, sink);
  }

  static void pushLayer(const ResolvedLayer& layer, const rauha_image_sink& sink) {
    rauha_image_layer out{};
    out.struct_size = sizeof out;
    out.id_mapping = layer.ownerMapping ? RAUHA_LAYER_ID_OWNER : RAUHA_LAYER_ID_ZONE;
    out.directory_fd_borrow = layer.directoryFd;
    out.path = optional(layer.path);
    out.digest = optional(layer.record.digest);
    out.diff_id = optional(layer.record.diffId);
    out.media_type = optional(layer.record.mediaType);
    out.size = layer.record.size;
    sink.layer(sink.context, &out);
  }

  static void pushCheck(const Check& check, const rauha_image_sink& sink) {
    std::vector<rauha_str> images;
    for (const std::string& image : check.images) images.push_back(sdk::str(image));
    rauha_image_check out{};
    out.struct_size = sizeof out;
    switch (check.state) {
      case Check::State::good:
        out.state = RAUHA_CHECK_GOOD;
        break;
      case Check::State::damaged:
        out.state = RAUHA_CHECK_DAMAGED;
        break;
      case Check::State::missing:
        out.state = RAUHA_CHECK_MISSING;
        break;
      case Check::State::unknown:
        out.state = RAUHA_CHECK_UNKNOWN;
        break;
    }
    out.kind = sdk::str(check.kind);
    out.digest = optional(check.digest);
    out.path = optional(check.path);
    out.text = optional(check.text);
    out.remedy = optional(check.remedy);
    out.bytes = check.bytes;
    out.images = {images.data(), static_cast<uint32_t>(images.size()), sizeof(rauha_str)};
    sink.check(sink.context, &out);
  }

  static void pushMount(const HostEntry& entry, const rauha_image_sink& sink) {
    rauha_image_mount out{};
    out.struct_size = sizeof out;
    out.flags = (entry.optional ? RAUHA_MOUNT_OPTIONAL : 0u) | (entry.exec ? RAUHA_MOUNT_EXEC : 0u);
    switch (entry.kind) {
      case HostEntry::Kind::bind:
        out.kind = RAUHA_MOUNT_BIND;
        break;
      case HostEntry::Kind::symlink:
        out.kind = RAUHA_MOUNT_SYMLINK;
        break;
      case HostEntry::Kind::file:
        out.kind = RAUHA_MOUNT_FILE;
        break;
      case HostEntry::Kind::directory:
        out.kind = RAUHA_MOUNT_DIRECTORY;
        break;
    }
    out.number = entry.mode;
    out.source = optional(entry.source);
    out.target = sdk::str(entry.target);
    sink.mount(sink.context, &out);
  }

  sdk::Host host_;
  std::unique_ptr<ImageLibrary> library_;
};

}  // namespace
}  // namespace rauha::oci

RAUHA_IMAGE_PLUGIN(rauha::oci::ImageOci, "image-oci", "0.1.0", "Apache-2.0");
