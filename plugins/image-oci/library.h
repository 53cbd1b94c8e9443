#pragma once
// The image library: what the plugin can do, in plain C++ and without the ABI. Resolving takes a reference to layers that are ready;
// the other functions look after what was resolved or imported. Thread: [any]. Errors: rauha::Error of class "image".

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/files.h"
#include "plugins/image-oci/image_store.h"
#include "plugins/image-oci/layer_store.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/reference.h"
#include "plugins/image-oci/registry/client.h"
#include "plugins/image-oci/registry/settings.h"
#include "plugins/image-oci/source.h"
#include "plugins/image-oci/source_host.h"
#include "plugins/image-oci/verify.h"
#include "plugins/image-oci/watch.h"

namespace rauha::oci {

enum class Pull { missing, always, never };

struct Request {
  std::string_view reference;
  int sourceFd = -1;  // borrowed
  Caller caller;
  std::string_view lease;  // zone id; empty: none
  std::string_view name;   // import
  Pull pull = Pull::missing;
  std::optional<Platform> platform;  // absent: this machine's
  std::optional<Credentials> credentials;
  // What the policy demands of an image (resolve).
  bool requireDigest = false;
  std::vector<std::string> registries;  // empty: all
  bool all = false;                     // prune
  bool complete = false;                // with every blob that the store keeps, read again if need be
};

struct ResolvedLayer {
  std::string path;  // empty: directoryFd
  int directoryFd = -1;
  bool ownerMapping = false;  // else the zone's ids
  LayerRecord record;
};

struct Resolved {
  std::string reference, digest, source, configJson;
  uint64_t bytes = 0;
  int64_t createdNs = 0;
  std::vector<ResolvedLayer> layers;  // lowest first
  std::vector<HostEntry> mounts;
  std::vector<std::string> notes;  // what unpacking left out, for the log
};

class ImageLibrary final {
 public:
  // path: the store's directory. Makes it.
  ImageLibrary(const std::string& path, Limits limits, RegistrySettings registries = {}, bool keepBlobs = true);
  // What a registry must be asked for is fetched, verified and unpacked first (request.pull).
  Resolved resolve(const Request& request, const Watch& watch);
  Resolved inspect(const Request& request, const Watch& watch);
  Resolved importImage(const Request& request, const Watch& watch);
  void release(std::string_view lease);
  std::vector<Resolved> list();
  void remove(std::string_view text);
  // Layers, documents and half-fetched blobs that nothing needs; all: also images that no lease uses. Returns those.
  std::vector<Resolved> prune(bool all);
  void reconcile(const std::vector<std::string_view>& living);
  // Sends the stored image as an OCI archive to `target` (export.h), under the tag request.name.
  Resolved exportImage(const Request& request, int target, const Watch& watch) const;
  // What request.reference names; empty: everything.
  std::vector<Check> verify(const Request& request, const Watch& watch);

 private:
  struct Documents {
    Descriptor manifest;
    Manifest parsed;
    Config config;
    std::string manifestText, configText;
  };
  std::unique_ptr<Source> openSource(const Reference& reference, const Request& request, const Watch& watch) const;
  Documents readDocuments(Source& source, const Platform& platform, const std::string& what) const;
  Resolved resolveSource(const Reference& reference, const Request& request, const std::string& name, const Watch& watch);
  Resolved resolveFrom(Source& source, const Reference& reference, const Request& request, const std::string& name, const Watch& watch);
  Resolved resolveName(const Reference& reference, const Request& request, const Watch& watch);
  Resolved pullImage(const Reference& reference, const Request& request, const Watch& watch);
  static void checkOrigin(const std::string& from, const Reference& reference, const Request& request);
  void checkAllowed(const Reference& reference, const Request& request) const;
  // nullopt: not there, or for another platform.
  std::optional<Resolved> resolveStored(const Reference& reference, const Request& request);
  Resolved directory(const Reference& reference, const Request& request) const;
  Resolved importTar(const Reference& reference, const Request& request, const std::string& name, const Watch& watch);
  ImageRecord recordOf(std::string_view text) const;
  void needBlobs(const ImageRecord& record, const std::vector<Descriptor>& blobs) const;
  ImageRecord store(const Reference& reference, const std::string& name, const Documents& docs, Source& source, bool complete,
                    const Watch& watch, std::vector<std::string>& notes);
  std::vector<StoredLayer> storeLayers(const Documents& docs, Source& source, bool complete, const Watch& watch,
                                       std::vector<std::string>& notes);
  StoredLayer storeLayer(const Descriptor& blob, const std::string& diffId, Source& source, bool complete, const Watch& watch);
  Resolved present(const ImageRecord& record, std::string reference, std::string configText, bool forUse) const;
  // Removes what neither an image nor a lease needs.
  void collect();
  void removeLeftovers();

  StoreRoot root_;
  Limits limits_;
  const RegistrySettings registries_;
  RegistryMemory memory_;
  const bool keepBlobs_;
  BlobStore blobs_;
  LayerStore layers_;
  ImageStore images_;
};

}  // namespace rauha::oci
