#include "core/plugin/remote/image_wire.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/plugin/c_struct.h"
#include "core/plugin/remote/isolation.h"

namespace rauha::plugin {
namespace {

// No list of a message is walked further; the sink's own bounds are lower or the same.
constexpr unsigned kMaxList = 10'000;
// What the zone's agent mounts as one root.
constexpr unsigned kMaxPinned = 128;

capnp::Text::Reader text(const std::string& s) { return {s.c_str(), s.size()}; }
rauha_str str(capnp::Text::Reader t) { return t.size() == 0 ? rauha_str{nullptr, 0} : rauha_str{t.begin(), t.size()}; }
rauha_str str(capnp::Data::Reader d) {
  return d.size() == 0 ? rauha_str{nullptr, 0} : rauha_str{reinterpret_cast<const char*>(d.begin()), d.size()};
}
capnp::Data::Reader data(const std::string& s) { return {reinterpret_cast<const kj::byte*>(s.data()), s.size()}; }

uint32_t mappingNumber(LayerMapping mapping) {
  switch (mapping) {
    case LayerMapping::none:
      return RAUHA_LAYER_ID_NONE;
    case LayerMapping::zone:
      return RAUHA_LAYER_ID_ZONE;
    case LayerMapping::owner:
      return RAUHA_LAYER_ID_OWNER;
  }
  return RAUHA_LAYER_ID_NONE;
}

uint32_t kindNumber(MountKind kind) {
  switch (kind) {
    case MountKind::bind:
      return RAUHA_MOUNT_BIND;
    case MountKind::symlink:
      return RAUHA_MOUNT_SYMLINK;
    case MountKind::file:
      return RAUHA_MOUNT_FILE;
    case MountKind::directory:
      return RAUHA_MOUNT_DIRECTORY;
    case MountKind::tmpfs:
      return RAUHA_MOUNT_TMPFS;
  }
  return RAUHA_MOUNT_BIND;
}

bool sameFile(int a, int b) {
  struct stat x {
  }, y{};
  return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void writeLayer(schema::PluginLayer::Builder to, const ImageLayer& from, int source) {
  if (!from.directory)
    to.setPath(text(from.path));
  else if (sameFile(from.directory.get(), source))
    to.setSource();
  else
    throw Error("image", Code::unsupported, "a layer is given by a descriptor that is not the request's source",
                "in a process of its own, a plugin names layers by their path in its store, or gives the request's source itself");
  to.setMapping(mappingNumber(from.mapping));
  to.setDigest(text(from.digest));
  to.setDiffId(text(from.diffId));
  to.setMediaType(text(from.mediaType));
  to.setSize(from.size);
}

void writeMount(schema::PluginMount::Builder to, const MountEntry& from) {
  to.setKind(kindNumber(from.kind));
  to.setFlags((from.optional ? RAUHA_MOUNT_OPTIONAL : 0u) | (from.exec ? RAUHA_MOUNT_EXEC : 0u));
  to.setNumber(from.number);
  to.setSource(data(from.source));
  to.setTarget(text(from.target));
}

void checkInStore(const std::string& path, const std::string& store) {
  if (!isBeneath(path, {store}) || path.size() <= store.size() + 1)
    throw Error("plugin", Code::denied, "layer " + cleanText(toStr(path), 256) + " is not in the plugin's directory " + store);
}

// The directory itself, reached without any link and without leaving the store.
UniqueFd openInStore(const std::string& path, const std::string& store) {
  const UniqueFd root(open(store.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root) throwErrno("plugin", "open " + store);
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, root.get(), path.c_str() + store.size() + 1, &how, sizeof how)));
  if (!fd) throwErrno("plugin", "open layer " + path);
  return fd;
}

class Pusher final {
 public:
  Pusher(const ImageBounds& bounds, const rauha_image_sink& sink) : bounds_(bounds), sink_(sink) {}

  void image(schema::PluginImage::Reader from) {
    rauha_image_info info{};
    info.struct_size = sizeof info;
    info.reference = str(from.getReference());
    info.digest = str(from.getDigest());
    info.source = str(from.getSource());
    info.config_json = str(from.getConfigJson());
    info.size = from.getSize();
    info.created_ns = from.getCreatedNs();
    sink_.info(sink_.context, &info);
    const auto layers = bounded(from.getLayers());
    if (bounds_.pinLayers && layers.size() > kMaxPinned)
      throw Error("plugin", Code::unsupported,
                  "image " + cleanText(info.reference, 256) + " has " + std::to_string(layers.size()) + " layers, at most " +
                      std::to_string(kMaxPinned) + " from a plugin in a process of its own");
    for (const auto layer : layers) push(layer);
    for (const auto mount : bounded(from.getMounts())) push(mount);
  }

  template <typename List>
  static List bounded(List list) {
    if (list.size() > kMaxList)
      throw Error("plugin", Code::limit,
                  "answered with a list of " + std::to_string(list.size()) + ", at most " + std::to_string(kMaxList));
    return list;
  }

 private:
  void push(schema::PluginLayer::Reader from) {
    rauha_image_layer out{};
    out.struct_size = sizeof out;
    out.id_mapping = from.getMapping();
    out.directory_fd_borrow = -1;
    UniqueFd pinned;
    std::string path;
    switch (from.which()) {
      case schema::PluginLayer::SOURCE:
        out.directory_fd_borrow = bounds_.source;
        break;
      case schema::PluginLayer::PATH:
        path = exactText(str(from.getPath()), 4095, "an image layer's path");
        checkInStore(path, bounds_.store);
        if (bounds_.pinLayers) {
          pinned = openInStore(path, bounds_.store);
          out.directory_fd_borrow = pinned.get();
        } else {
          out.path = toStr(path);
        }
        break;
      default:
        throw Error("plugin", Code::unsupported, "an image layer is given in a way that this daemon does not know");
    }
    out.digest = str(from.getDigest());
    out.diff_id = str(from.getDiffId());
    out.media_type = str(from.getMediaType());
    out.size = from.getSize();
    sink_.layer(sink_.context, &out);
  }

  void push(schema::PluginMount::Reader from) {
    rauha_image_mount out{};
    out.struct_size = sizeof out;
    out.flags = from.getFlags();
    out.kind = from.getKind();
    out.number = from.getNumber();
    out.source = str(from.getSource());
    out.target = str(from.getTarget());
    if (out.kind == RAUHA_MOUNT_BIND) {
      // The process must not have the daemon show a zone what it may not see itself. The sink refuses "..".
      const std::string source = exactText(out.source, 4095, "a bind mount's source");
      if (!isBeneath(source, bounds_.read))
        throw Error("plugin", Code::denied, "binds " + cleanText(out.source, 256) + ", which its process may not read",
                    "add the path to `read` in the plugin's table [plugin.NAME.process] of rauha.toml, if zones may see it");
    }
    sink_.mount(sink_.context, &out);
  }

  const ImageBounds& bounds_;
  const rauha_image_sink& sink_;
};

}  // namespace

void writeImages(capnp::List<schema::PluginImage>::Builder out, const std::vector<ResolvedImage>& images, int source) {
  for (unsigned i = 0; i < out.size(); ++i) {
    const ResolvedImage& from = images[i];
    auto to = out[i];
    to.setReference(text(from.info.reference));
    to.setDigest(text(from.info.digest));
    to.setSource(text(from.info.source));
    to.setConfigJson(data(from.info.configJson));
    to.setSize(from.info.size);
    to.setCreatedNs(from.info.createdNs);
    auto layers = to.initLayers(static_cast<unsigned>(from.layers.size()));
    for (unsigned k = 0; k < layers.size(); ++k) writeLayer(layers[k], from.layers[k], source);
    auto mounts = to.initMounts(static_cast<unsigned>(from.mounts.size()));
    for (unsigned k = 0; k < mounts.size(); ++k) writeMount(mounts[k], from.mounts[k]);
  }
}

void pushImages(capnp::List<schema::PluginImage>::Reader from, const ImageBounds& bounds, const rauha_image_sink& sink) {
  Pusher pusher(bounds, sink);
  for (const auto image : Pusher::bounded(from)) pusher.image(image);
}

void writeChecks(capnp::List<schema::PluginImageCheck>::Builder out, const std::vector<ImageCheck>& checks) {
  for (unsigned i = 0; i < out.size(); ++i) {
    const ImageCheck& from = checks[i];
    auto to = out[i];
    to.setState(static_cast<uint32_t>(from.state));
    to.setKind(text(from.kind));
    to.setDigest(text(from.digest));
    to.setPath(text(from.path));
    to.setText(text(from.text));
    to.setRemedy(text(from.remedy));
    to.setBytes(from.bytes);
    auto images = to.initImages(static_cast<unsigned>(from.images.size()));
    for (unsigned k = 0; k < images.size(); ++k) images.set(k, text(from.images[k]));
  }
}

void pushChecks(capnp::List<schema::PluginImageCheck>::Reader from, const rauha_image_sink& sink) {
  constexpr unsigned kMaxChecks = 100'000;
  if (from.size() > kMaxChecks)
    throw Error("plugin", Code::limit, "answered with " + std::to_string(from.size()) + " checks, at most " + std::to_string(kMaxChecks));
  for (const auto check : from) {
    rauha_image_check out{};
    out.struct_size = sizeof out;
    out.state = check.getState();
    out.kind = str(check.getKind());
    out.digest = str(check.getDigest());
    out.path = str(check.getPath());
    out.text = str(check.getText());
    out.remedy = str(check.getRemedy());
    out.bytes = check.getBytes();
    std::vector<rauha_str> images;
    for (const auto image : Pusher::bounded(check.getImages())) images.push_back(str(image));
    out.images = {images.data(), static_cast<uint32_t>(images.size()), sizeof(rauha_str)};
    sink.check(sink.context, &out);
  }
}

}  // namespace rauha::plugin
