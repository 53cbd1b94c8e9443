#pragma once
// An image plugin as core sees it: turns references into read-only layers ("rauha.image/1", sdk/include/rauha/image.h).
//
// An interface; the adapter over a plugin's table implements it, and so may a test. Owner: the Registry. Every call blocks: it belongs on
// a worker; calls may run at once. Errors: rauha::Error of class "image" with the plugin's text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/plugin/call.h"

namespace rauha::plugin {

enum class Pull : uint32_t { missing, always, never };  // as schema::PullPolicy and RAUHA_PULL_*

struct ImageRequest {
  std::string reference;  // "host", "oci:DIR[:tag]", …, or a stored name
  int sourceFd = -1;      // borrowed: the reference's directory or file, opened by the client with its own rights; -1: none
  uint32_t callerUid = 0;
  uint32_t callerGid = 0;
  std::string lease;  // zone id that will use the layers; empty: nothing is leased
  std::string name;   // import: what to store it under; empty: made from the reference
  // Resolve, as the records of sdk/include/rauha/image.h.
  Pull pull = Pull::missing;
  std::string platform;     // empty: this machine's
  std::string credentials;  // opaque; empty: none
  bool requireDigest = false;
  std::vector<std::string> registries;  // empty: all
  bool all = false;                     // prune
  int targetFd = -1;                    // export: borrowed, a connected stream socket
};

struct ImageInfo {
  std::string reference;
  std::string digest;      // of the manifest, "sha256:…"; empty: not hashed
  std::string source;      // "oci", "oci-archive", "docker-archive", "tar", "dir", "host", "registry"
  std::string configJson;  // OCI image configuration; empty: none
  uint64_t size = 0;       // unpacked bytes
  int64_t createdNs = 0;   // CLOCK_REALTIME; 0: not stored
};

enum class LayerMapping { none, zone, owner };  // as schema::IdMapping

struct ImageLayer {
  std::string path;    // absolute; empty when `directory` is given
  UniqueFd directory;  // of a layer outside the store (`dir:`)
  LayerMapping mapping = LayerMapping::none;
  std::string digest;  // of the blob; empty: not hashed
  std::string diffId;
  std::string mediaType;
  uint64_t size = 0;
};

enum class MountKind { bind, symlink, file, directory, tmpfs };

// One entry of the fresh root of an image that is assembled from pieces ("host").
struct MountEntry {
  MountKind kind = MountKind::bind;
  bool optional = false;  // no error when the source is missing
  bool exec = false;      // programs may be run from it
  uint64_t number = 0;    // directory: mode bits; tmpfs: bytes
  std::string source;     // bind: absolute host path; symlink: text; file: content
  std::string target;     // absolute, in the zone
};

struct ResolvedImage {
  ImageInfo info;
  std::vector<ImageLayer> layers;  // lowest first
  std::vector<MountEntry> mounts;
};

enum class CheckState : uint32_t { good, damaged, missing, unknown };  // as schema::CheckState and RAUHA_CHECK_*

// One thing of a store that was read again.
struct ImageCheck {
  CheckState state = CheckState::unknown;
  std::string kind;    // a word for people
  std::string digest;  // empty: it has none
  std::string path, text, remedy;
  uint64_t bytes = 0;               // that were read
  std::vector<std::string> images;  // that need it
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual const std::string& name() const noexcept = 0;
  // Makes the layers ready. With a lease they stay until release.
  virtual ResolvedImage resolve(const CallOptions& options, const ImageRequest& request) = 0;
  virtual void release(const CallOptions& options, std::string_view lease) = 0;  // idempotent
  virtual std::vector<ResolvedImage> list(const CallOptions& options) = 0;
  virtual ResolvedImage inspect(const CallOptions& options, const ImageRequest& request) = 0;
  // busy when a lease uses it.
  virtual void remove(const CallOptions& options, std::string_view reference) = 0;
  virtual ResolvedImage importImage(const CallOptions& options, const ImageRequest& request) = 0;
  // Once after start: leases that still live; all others and half-done files go.
  virtual void reconcile(const CallOptions& options, const std::vector<std::string>& leases) = 0;
  // What nothing needs goes; request.all: images too. Returns those. A source that cannot: nothing.
  virtual std::vector<ResolvedImage> prune(const CallOptions&, const ImageRequest&) { return {}; }
  // Writes a stored image to request.targetFd as an OCI archive.
  virtual ResolvedImage exportImage(const CallOptions&, const ImageRequest&) {
    throw Error("image", Code::unsupported, name() + " cannot export images", "ask its author for a version that does");
  }
  // Reads again what is stored of the reference (empty: everything). A source that cannot says so with one check.
  virtual std::vector<ImageCheck> verify(const CallOptions&, const ImageRequest&) {
    return {
        {CheckState::unknown, "store", {}, {}, name() + " cannot verify what it stores", "ask its author for a version that does", 0, {}}};
  }
};

}  // namespace rauha::plugin
