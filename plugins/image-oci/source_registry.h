#pragma once
// A registry as a Source (source.h): index or manifest by tag or digest, blobs as they arrive. Blobs of some size are also kept on disk
// until the layer is in the store (registry/partial_blob.h). Made for one pull; layer() may be called on several threads at once.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "plugins/image-oci/registry/client.h"
#include "plugins/image-oci/source.h"
#include "plugins/image-oci/store_root.h"

namespace rauha::oci {

struct RegistryPull {
  std::string tag, digest;  // one of both is given; the digest wins
  Platform platform;
  // Documents that the store has are not asked for again.
  std::function<std::optional<std::string>(const std::string& digest)> stored;
};

// client and store outlive the source.
std::unique_ptr<Source> registrySource(RegistryClient& client, const StoreRoot& store, uint32_t parallel, RegistryPull pull);

}  // namespace rauha::oci
