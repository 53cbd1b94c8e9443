#include <rauha/image.h>
#include <sys/stat.h>

#include <cstddef>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/plugin/adapters.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/sink.h"

namespace rauha::plugin {
namespace {

constexpr size_t kTableV1 = offsetof(rauha_image_v1, reconcile) + sizeof(void*);  // sizes in ABI 1.0
constexpr size_t kInfoV1 = offsetof(rauha_image_info, created_ns) + sizeof(int64_t);
constexpr size_t kLayerV1 = offsetof(rauha_image_layer, size) + sizeof(uint64_t);
constexpr size_t kMountV1 = offsetof(rauha_image_mount, target) + sizeof(rauha_str);
constexpr size_t kMaxImages = 10'000;
constexpr size_t kMaxLayers = 500;  // what one overlay mount takes (fs/overlayfs: OVL_MAX_STACK)
constexpr size_t kMaxMounts = 1024;
constexpr size_t kMaxReference = 4096;
constexpr size_t kMaxPath = 4095;
constexpr size_t kMaxConfig = 4u << 20;
constexpr size_t kMaxFile = 64u << 10;
constexpr int64_t kUnpackNs = 3600LL * 1'000'000'000;                                   // large images on slow disks
constexpr size_t kMaxTotal = 32u << 20;                                                 // of one call, all texts together
constexpr size_t kCheckV1 = offsetof(rauha_image_check, images) + sizeof(rauha_array);  // in ABI 1.1
constexpr size_t kMaxChecks = 100'000;  // a store of 10'000 images, each with layers of its own
constexpr uint32_t kMaxCheckImages = 256;

void refuseFlags(uint32_t flags, const char* what) {
  if (flags != 0) throw Error("plugin", Code::unsupported, std::string(what) + " has unknown flag bits " + std::to_string(flags));
}

// Absolute, and without "..": nobody behind us has to think about what it might climb out of.
std::string absolutePath(rauha_str s, const char* what) {
  std::string path = exactText(s, kMaxPath, what);
  if (path.empty() || path[0] != '/' || (path + "/").find("/../") != std::string::npos)
    throw Error("plugin", Code::internal, std::string(what) + " \"" + cleanText(s, kMaxPath) + "\" is not an absolute path without \"..\"");
  return path;
}

std::string digestText(rauha_str s, const char* what) {
  std::string digest = exactText(s, 71, what);
  if (!digest.empty() && !isSha256(digest))
    throw Error("plugin", Code::internal, std::string(what) + " \"" + cleanText(s, 71) + "\" is not sha256: and 64 hex digits");
  return digest;
}

ImageInfo copyInfo(const rauha_image_info* from) {
  const auto raw = readTable<rauha_image_info>(from, kInfoV1, "an image's info");
  refuseFlags(raw.flags, "an image's info");
  ImageInfo out;
  out.reference = exactText(raw.reference, kMaxReference, "an image's reference");
  if (!isUtf8(out.reference)) throw Error("plugin", Code::internal, "an image's reference is not UTF-8");
  out.digest = digestText(raw.digest, "an image's digest");
  out.source = cleanText(raw.source, 64);
  out.configJson = exactText(raw.config_json, kMaxConfig, "an image's configuration");
  out.size = raw.size;
  out.createdNs = raw.created_ns;
  return out;
}

UniqueFd duplicateDirectory(int fd) {
  struct stat st {};
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
    throw Error("plugin", Code::internal, "a layer's directory_fd_borrow " + std::to_string(fd) + " is not an open directory");
  return duplicate(fd);
}

ImageLayer copyLayer(const rauha_image_layer* from) {
  const auto raw = readStruct(from, kLayerV1, "an image layer");
  refuseFlags(raw.flags, "an image layer");
  ImageLayer out;
  switch (raw.id_mapping) {
    case RAUHA_LAYER_ID_NONE:
      out.mapping = LayerMapping::none;
      break;
    case RAUHA_LAYER_ID_ZONE:
      out.mapping = LayerMapping::zone;
      break;
    case RAUHA_LAYER_ID_OWNER:
      out.mapping = LayerMapping::owner;
      break;
    default:
      throw Error("plugin", Code::unsupported, "an image layer has the unknown id mapping " + std::to_string(raw.id_mapping));
  }
  if (raw.path.len == 0)
    out.directory = duplicateDirectory(raw.directory_fd_borrow);
  else if (raw.directory_fd_borrow >= 0)
    throw Error("plugin", Code::internal, "an image layer has both a path and a directory_fd_borrow");
  else
    out.path = absolutePath(raw.path, "an image layer's path");
  out.digest = digestText(raw.digest, "an image layer's digest");
  out.diffId = digestText(raw.diff_id, "an image layer's diff_id");
  out.mediaType = cleanText(raw.media_type, 256);
  out.size = raw.size;
  return out;
}

MountEntry copyMount(const rauha_image_mount* from) {
  const auto raw = readStruct(from, kMountV1, "an image mount");
  refuseFlags(raw.flags & ~(RAUHA_MOUNT_OPTIONAL | RAUHA_MOUNT_EXEC), "an image mount");
  MountEntry out;
  out.optional = (raw.flags & RAUHA_MOUNT_OPTIONAL) != 0;
  out.exec = (raw.flags & RAUHA_MOUNT_EXEC) != 0;
  out.number = raw.number;
  out.target = absolutePath(raw.target, "an image mount's target");
  switch (raw.kind) {
    case RAUHA_MOUNT_BIND:
      out.kind = MountKind::bind;
      out.source = absolutePath(raw.source, "a bind mount's source");
      break;
    case RAUHA_MOUNT_SYMLINK:
      out.kind = MountKind::symlink;
      out.source = exactText(raw.source, kMaxPath, "a link's text");
      if (out.source.empty()) throw Error("plugin", Code::internal, "link " + out.target + " has no text");
      break;
    case RAUHA_MOUNT_FILE:
      out.kind = MountKind::file;
      if (raw.source.len > kMaxFile || (raw.source.ptr == nullptr && raw.source.len > 0))
        throw Error("plugin", Code::limit,
                    "file " + out.target + " has " + std::to_string(raw.source.len) + " bytes, at most " + std::to_string(kMaxFile));
      if (raw.source.len > 0) out.source.assign(raw.source.ptr, raw.source.len);  // content: any bytes
      break;
    case RAUHA_MOUNT_DIRECTORY:
      out.kind = MountKind::directory;
      if (raw.number > 07777)
        throw Error("plugin", Code::internal, "directory " + out.target + " has the mode " + std::to_string(raw.number));
      break;
    case RAUHA_MOUNT_TMPFS:
      out.kind = MountKind::tmpfs;
      break;
    default:
      throw Error("plugin", Code::unsupported, "an image mount has the unknown kind " + std::to_string(raw.kind));
  }
  return out;
}

ImageCheck copyCheck(const rauha_image_check* from) {
  const auto raw = readTable<rauha_image_check>(from, kCheckV1, "an image check");
  refuseFlags(raw.flags, "an image check");
  if (raw.state > RAUHA_CHECK_UNKNOWN)
    throw Error("plugin", Code::unsupported, "an image check has the unknown state " + std::to_string(raw.state));
  ImageCheck out;
  out.state = static_cast<CheckState>(raw.state);
  out.kind = cleanText(raw.kind, 64);
  out.digest = digestText(raw.digest, "an image check's digest");
  out.path = cleanText(raw.path, kMaxPath);
  out.text = cleanText(raw.text, 1024);
  out.remedy = cleanText(raw.remedy, 1024);
  out.bytes = raw.bytes;
  if (raw.images.count > 0 && (raw.images.ptr == nullptr || raw.images.stride < sizeof(rauha_str)))
    throw Error("plugin", Code::internal, "an image check's images are no array");
  const auto* at = static_cast<const unsigned char*>(raw.images.ptr);
  for (uint32_t i = 0; i < raw.images.count && i < kMaxCheckImages; ++i) {
    rauha_str name;
    std::memcpy(&name, at + size_t{i} * raw.images.stride, sizeof name);
    out.images.push_back(cleanText(name, kMaxReference));
  }
  return out;
}

class ImageSink final {
 public:
  explicit ImageSink(PluginCall& call) : sink_(call) {
    raw_ = {sizeof(rauha_image_sink),
            0,
            this,
            [](void* self, const rauha_image_info* info) noexcept { static_cast<ImageSink*>(self)->info(info); },
            [](void* self, const rauha_image_layer* layer) noexcept { static_cast<ImageSink*>(self)->layer(layer); },
            [](void* self, const rauha_image_mount* mount) noexcept { static_cast<ImageSink*>(self)->mount(mount); },
            [](void* self, const rauha_image_check* check) noexcept { static_cast<ImageSink*>(self)->check(check); }};
  }
  const rauha_image_sink* raw() const noexcept { return &raw_; }
  std::vector<ResolvedImage> images;
  std::vector<ImageCheck> checks;

 private:
  void info(const rauha_image_info* from) noexcept {
    sink_.take([&] {
      bound(images, kMaxImages, "images");
      ResolvedImage image;
      image.info = copyInfo(from);
      charge(image.info.reference.size() + image.info.configJson.size());
      images.push_back(std::move(image));
    });
  }
  void layer(const rauha_image_layer* from) noexcept {
    sink_.take([&] {
      bound(current("a layer").layers, kMaxLayers, "layers of one image");
      ImageLayer layer = copyLayer(from);
      charge(layer.path.size() + layer.mediaType.size());
      current("a layer").layers.push_back(std::move(layer));
    });
  }
  void mount(const rauha_image_mount* from) noexcept {
    sink_.take([&] {
      bound(current("a mount").mounts, kMaxMounts, "mounts of one image");
      MountEntry mount = copyMount(from);
      charge(mount.source.size() + mount.target.size());
      current("a mount").mounts.push_back(std::move(mount));
    });
  }
  void check(const rauha_image_check* from) noexcept {
    sink_.take([&] {
      bound(checks, kMaxChecks, "checks");
      ImageCheck check = copyCheck(from);
      size_t bytes = check.path.size() + check.text.size() + check.remedy.size();
      for (const auto& image : check.images) bytes += image.size();
      charge(bytes);
      checks.push_back(std::move(check));
    });
  }
  ResolvedImage& current(const char* what) {
    if (images.empty()) throw Error("plugin", Code::internal, std::string("pushed ") + what + " before the image's info");
    return images.back();
  }
  void charge(size_t bytes) {
    total_ += bytes;
    if (total_ > kMaxTotal) throw Error("plugin", Code::limit, "pushed more than " + std::to_string(kMaxTotal) + " bytes of text");
  }

  Sink sink_;
  rauha_image_sink raw_{};
  size_t total_ = 0;
};

// The request as the plugin reads it; valid as long as the request itself.
class RequestView final {
 public:
  explicit RequestView(const ImageRequest& request);
  RequestView(const RequestView&) = delete;
  RequestView& operator=(const RequestView&) = delete;
  const rauha_image_request* raw() const noexcept { return &raw_; }

 private:
  void add(uint32_t tag, uint32_t flags, uint64_t number, std::string_view text) {
    records_.push_back({sizeof(rauha_record), flags, tag, 0, number, toStr(text)});
  }
  rauha_image_request raw_{};
  std::vector<rauha_record> records_;
};

// What says "as before" is left out: a plugin of ABI 1.0 then sees nothing that it does not know.
RequestView::RequestView(const ImageRequest& request) {
  rauha_image_request& raw = raw_;
  raw.struct_size = sizeof raw;
  raw.reference = toStr(request.reference);
  raw.source_fd_borrow = request.sourceFd;
  raw.caller_uid = request.callerUid;
  raw.caller_gid = request.callerGid;
  raw.lease = toStr(request.lease);
  raw.name = toStr(request.name);
  if (request.pull != Pull::missing)
    add(RAUHA_IMAGE_PULL, request.pull == Pull::never ? RAUHA_RECORD_CRITICAL : 0, static_cast<uint32_t>(request.pull), {});
  if (!request.platform.empty()) add(RAUHA_IMAGE_PLATFORM, RAUHA_RECORD_CRITICAL, 0, request.platform);
  if (!request.credentials.empty()) add(RAUHA_IMAGE_CREDENTIALS, 0, 0, request.credentials);
  if (request.requireDigest) add(RAUHA_IMAGE_REQUIRE_DIGEST, RAUHA_RECORD_CRITICAL, 0, {});
  for (const auto& registry : request.registries) add(RAUHA_IMAGE_REGISTRY, RAUHA_RECORD_CRITICAL, 0, registry);
  if (request.all) add(RAUHA_IMAGE_ALL, RAUHA_RECORD_CRITICAL, 0, {});
  if (!records_.empty()) raw.records = {records_.data(), static_cast<uint32_t>(records_.size()), sizeof(rauha_record)};
}

class PluginImages final : public ImageSource {
 public:
  explicit PluginImages(std::shared_ptr<PluginInstance> plugin)
      : plugin_(std::move(plugin)), table_(readTable<rauha_image_v1>(plugin_->table(RAUHA_IMAGE_V1), kTableV1, "table " RAUHA_IMAGE_V1)) {
    const auto need = [](bool present, const char* function) {
      if (!present) throw Error("plugin", Code::invalid, std::string("table " RAUHA_IMAGE_V1 " has no ") + function);
    };
    need(table_.resolve != nullptr, "resolve");
    need(table_.release != nullptr, "release");
    need(table_.list != nullptr, "list");
    need(table_.inspect != nullptr, "inspect");
    need(table_.remove != nullptr, "remove");
    need(table_.import_image != nullptr, "import_image");
    need(table_.reconcile != nullptr, "reconcile");
  }

  const std::string& name() const noexcept override { return plugin_->name(); }

  ResolvedImage resolve(const CallOptions& options, const ImageRequest& request) override {
    return one(options, request, "resolve", table_.resolve);
  }
  ResolvedImage inspect(const CallOptions& options, const ImageRequest& request) override {
    return one(options, request, "inspect", table_.inspect);
  }
  ResolvedImage importImage(const CallOptions& options, const ImageRequest& request) override {
    return one(options, request, "import_image", table_.import_image);
  }

  void release(const CallOptions& options, std::string_view lease) override {
    PluginCall call(plugin_->host(), prompt(options), "image", "release");
    call.finish(call.run(table_.release, plugin_->instance(), call.raw(), toStr(lease)));
  }

  std::vector<ResolvedImage> list(const CallOptions& options) override {
    PluginCall call(plugin_->host(), prompt(options), "image", "list");
    ImageSink sink(call);
    const ImageRequest request;
    const RequestView view(request);
    call.finish(call.run(table_.list, plugin_->instance(), call.raw(), view.raw(), sink.raw()));
    return std::move(sink.images);
  }

  void remove(const CallOptions& options, std::string_view reference) override {
    PluginCall call(plugin_->host(), options, "image", "remove");
    ImageRequest request;
    request.reference = reference;
    const RequestView view(request);
    call.finish(call.run(table_.remove, plugin_->instance(), call.raw(), view.raw()));
  }

  std::vector<ResolvedImage> prune(const CallOptions& options, const ImageRequest& request) override {
    if (!RAUHA_HAS(&table_, prune) || table_.prune == nullptr) return {};
    PluginCall call(plugin_->host(), options, "image", "prune");
    ImageSink sink(call);
    const RequestView view(request);
    call.finish(call.run(table_.prune, plugin_->instance(), call.raw(), view.raw(), sink.raw()));
    return std::move(sink.images);
  }

  ResolvedImage exportImage(const CallOptions& options, const ImageRequest& request) override {
    if (!RAUHA_HAS(&table_, export_image) || table_.export_image == nullptr) return ImageSource::exportImage(options, request);
    return one(options, request, "export_image", table_.export_image, request.targetFd);
  }

  std::vector<ImageCheck> verify(const CallOptions& options, const ImageRequest& request) override {
    if (!RAUHA_HAS(&table_, verify) || table_.verify == nullptr) return ImageSource::verify(options, request);
    PluginCall call(plugin_->host(), options, "image", "verify");
    ImageSink sink(call);
    const RequestView view(request);
    call.finish(call.run(table_.verify, plugin_->instance(), call.raw(), view.raw(), sink.raw()));
    return std::move(sink.checks);
  }

  void reconcile(const CallOptions& options, const std::vector<std::string>& leases) override {
    PluginCall call(plugin_->host(), options, "image", "reconcile");
    std::vector<rauha_str> texts;
    texts.reserve(leases.size());
    for (const auto& lease : leases) texts.push_back(toStr(lease));
    const rauha_array array{texts.data(), static_cast<uint32_t>(texts.size()), sizeof(rauha_str)};
    call.finish(call.run(table_.reconcile, plugin_->instance(), call.raw(), array));
  }

 private:
  // What moves no content answers soon (`call_timeout`), or somebody waits for it in vain.
  CallOptions prompt(const CallOptions& options) const {
    CallOptions bounded = options;
    if (bounded.deadlineNs == 0) bounded.deadlineNs = monotonicNs() + plugin_->host().calls().limits().createNs;
    return bounded;
  }
  // A call that is about exactly one image. A lease that was taken before the answer turned out broken is given back.
  // more: what the function takes between request and sink.
  template <typename F, typename... More>
  ResolvedImage one(const CallOptions& options, const ImageRequest& request, const char* function, F f, More... more) {
    CallOptions bounded = options;
    if (bounded.deadlineNs == 0) bounded.deadlineNs = monotonicNs() + kUnpackNs;
    PluginCall call(plugin_->host(), bounded, "image", function);
    ImageSink sink(call);
    const RequestView view(request);
    const rauha_status status = call.run(f, plugin_->instance(), call.raw(), view.raw(), more..., sink.raw());
    if (status == RAUHA_OK && sink.images.size() != 1)
      call.fault(Error("plugin", Code::internal, "returned OK with " + std::to_string(sink.images.size()) + " images, expected 1"));
    try {
      call.finish(status);
    } catch (const Error&) {
      if (status == RAUHA_OK && !request.lease.empty()) giveBack(request.lease);
      throw;
    }
    return std::move(sink.images.front());
  }

  void giveBack(const std::string& lease) noexcept {
    try {
      const CallOptions unlimited;
      release(unlimited, lease);
    } catch (const std::exception& e) {
      plugin_->host().log(LogLevel::error, "lease " + lease + " could not be released after a broken answer: " + e.what());
    }
  }

  const std::shared_ptr<PluginInstance> plugin_;
  const rauha_image_v1 table_;
};

}  // namespace

std::unique_ptr<ImageSource> adaptImages(std::shared_ptr<PluginInstance> plugin) {
  const std::string name = plugin->name();
  try {
    return std::make_unique<PluginImages>(std::move(plugin));
  } catch (const Error& e) {
    throw Error("plugin", e.code(), name + ": " + e.text(), e.hint());
  }
}

}  // namespace rauha::plugin
