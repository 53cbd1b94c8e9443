#pragma once
// What hostile content may cost at most. Each number has its reason; what is configurable is in Limits, the rest is fixed.

#include <cstddef>
#include <cstdint>

namespace rauha::oci {

constexpr size_t kJsonMax = 4u << 20;          // registries refuse manifests above 4 MiB (distribution-spec); configurations are smaller
constexpr size_t kJsonDepthMax = 32;           // the deepest real document (a configuration with healthcheck) has 6
constexpr size_t kJsonValuesMax = 200'000;     // bounds memory: a parsed value takes up to 50 times its text
constexpr size_t kLayersMax = 128;             // overlayfs stacks no more with mount(2); docker allows 127
constexpr size_t kIndexEntriesMax = 1024;      // manifests of one index
constexpr size_t kIndexDepthMax = 4;           // an index may name an index
constexpr size_t kArchiveEntriesMax = 20'000;  // files of an oci-archive or docker-archive: a few for each layer
constexpr size_t kPathMax = 4095;              // PATH_MAX without the NUL
constexpr size_t kTarHeadMax =
    2u << 20;                      // headers of one tar entry: libarchive keeps names and sparse maps in memory, up to 25 times their text
constexpr size_t kNameMax = 255;   // NAME_MAX
constexpr size_t kDepthMax = 256;  // directories below each other: the walkers hold one descriptor for each level
constexpr size_t kXattrNameMax = 255;         // XATTR_NAME_MAX
constexpr size_t kXattrValueMax = 64u << 10;  // XATTR_SIZE_MAX
constexpr size_t kXattrsPerEntryMax = 128;
constexpr uint32_t kIdMax = 65535;            // a zone has 65536 ids
constexpr size_t kNotesMax = 32;              // kept lines about what was left out of a layer; the rest is counted
constexpr uint64_t kProgressStep = 4u << 20;  // bytes between two reports

struct Limits {
  uint64_t layerBytesMax = uint64_t{64} << 30;  // unpacked bytes of one layer; large language-model images reach 30 GiB
  uint64_t entriesMax = 1'000'000;              // entries of one layer; a full Debian desktop has 300 000
  // A layer may always grow to ratioFree bytes; beyond that to ratioMax times its compressed size (gzip of real trees: 2 to 10).
  uint64_t ratioFree = uint64_t{1} << 30;
  uint64_t ratioMax = 250;
};

}  // namespace rauha::oci
