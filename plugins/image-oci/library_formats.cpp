// What the library does with images beside running them: rootfs tars in, OCI archives out, and the look at what is stored.

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/export.h"
#include "plugins/image-oci/library.h"
#include "plugins/image-oci/source_tar.h"
#include "plugins/image-oci/verify.h"

namespace rauha::oci {
namespace {

constexpr int kStallMs = 60'000;

// Every blob of the manifest, each once, the manifest and its configuration first.
std::vector<Descriptor> blobsOf(const Descriptor& manifest, const Manifest& parsed) {
  std::vector<Descriptor> out = {manifest, parsed.config};
  for (const Descriptor& layer : parsed.layers)
    if (std::none_of(out.begin(), out.end(), [&](const Descriptor& d) { return d.digest == layer.digest; })) out.push_back(layer);
  return out;
}

// "python:3.12" -> "3.12"; a name by digest and a path have none.
std::string tagOf(const std::string& name) {
  const size_t colon = name.rfind(':');
  if (colon == std::string::npos || name.find('@') != std::string::npos || name.find('/', colon) != std::string::npos) return {};
  return name.substr(colon + 1);
}

// As other tools know it: "docker.io/library/python:3.12". Only a registry's image may be called that.
std::string fullName(const ImageRecord& record) {
  if (record.source != "registry" || record.name.find('@') != std::string::npos) return {};
  const Reference reference = parseReference(record.name);
  return reference.domain + "/" + reference.repository + ":" + reference.tag;
}

}  // namespace

// A record by its name, as `image list` shows it.
ImageRecord ImageLibrary::recordOf(std::string_view text) const {
  const Reference reference = parseReference(text);
  const std::string name = reference.kind == Reference::Kind::stored ? reference.name : reference.text;
  std::optional<ImageRecord> record = images_.find(name);
  if (record) return std::move(*record);
  if (reference.kind == Reference::Kind::stored)
    refuseAbsent(reference, "", "to get it from a registry: rauha image pull " + toUtf8(reference.text));
  throw Error("image", Code::notFound, "image '" + toUtf8(text.substr(0, 200)) + "' is not in the store",
              reference.needsSource() ? "import it first: rauha image import " + toUtf8(text.substr(0, 200))
                                      : "rauha image list shows what is there",
              toUtf8(text.substr(0, 200)));
}

void ImageLibrary::needBlobs(const ImageRecord& record, const std::vector<Descriptor>& blobs) const {
  std::vector<std::string> missing;
  for (const Descriptor& blob : blobs)
    if (!blobs_.has(blob.digest)) missing.push_back(blob.digest);
  if (missing.empty()) return;
  std::string hint = record.source == "registry" ? "rauha image pull " + toUtf8(record.name) + " fetches it again"
                     : record.name == record.reference
                         ? "rauha image import " + toUtf8(record.reference) + " reads it again"
                         : "rauha image import " + toUtf8(record.reference) + " --name " + toUtf8(record.name) + " reads it again";
  if (!keepBlobs_) hint = "write keep_blobs = true in [plugin.image-oci] of rauha.toml; then " + hint;
  const std::string more = missing.size() > 1 ? " and " + std::to_string(missing.size() - 1) + " more" : "";
  throw Error("image", Code::notFound,
              "image '" + toUtf8(record.name) + "' cannot be exported: the store has unpacked its blob " + missing[0] + more +
                  " and not kept it, and packed anew it would have another digest",
              hint, toUtf8(record.name));
}

Resolved ImageLibrary::exportImage(const Request& request, int target, const Watch& watch) const {
  SocketTarget out(target, watch, kStallMs);
  ImageRecord record;
  Lease lease;
  UniqueFd operation;
  {
    const UniqueFd held = root_.lock();  // between looking and leasing nobody may collect
    record = recordOf(request.reference);
    lease = leaseFor({}, record.name, record.manifest, record.config, record.layers);
    operation = images_.leaseOperation(lease);
  }
  const Defer endLease([&] { images_.endLease(lease); });
  const std::string what = "image '" + toUtf8(record.name) + "'";
  const std::optional<std::string> manifestText = blobs_.read(record.manifest), configText = blobs_.read(record.config);
  if (!manifestText || !configText)
    throw Error("image", Code::corrupt, what + ": its manifest or its configuration is missing from the store", remedyFor({record}));
  checkDigest(what + ": its manifest in the store", record.manifest, sha256(*manifestText));
  const Manifest manifest = parseManifest(*manifestText, what + ": manifest " + record.manifest);
  ExportImage image;
  image.what = what;
  image.manifest = {manifest.mediaType, record.manifest, manifestText->size()};
  image.platform = parseConfig(*configText, what + ": configuration " + record.config).platform;
  image.tag = request.name.empty() ? tagOf(record.name) : parseTag(request.name);
  image.name = request.name.empty() ? fullName(record) : std::string();
  image.blobs = blobsOf(image.manifest, manifest);
  needBlobs(record, image.blobs);
  writeOciArchive(image, blobs_, out, watch);
  return present(record, record.name, *configText, false);
}

std::vector<Check> ImageLibrary::verify(const Request& request, const Watch& watch) {
  const bool all = request.reference.empty();
  std::vector<ImageStore::BadRecord> bad;
  std::vector<ImageRecord> every, records;
  // One lease for all: what is looked at must not be removed from under the look. It names no image: names may be removed meanwhile.
  Lease lease;
  UniqueFd operation;
  {
    const UniqueFd held = root_.lock();
    every = images_.list(&bad);
    records = all ? every : std::vector<ImageRecord>{recordOf(request.reference)};
    for (const ImageRecord& record : records) {
      const Lease one = leaseFor({}, {}, record.manifest, record.config, record.layers);
      lease.diffIds.insert(lease.diffIds.end(), one.diffIds.begin(), one.diffIds.end());
      lease.blobs.insert(lease.blobs.end(), one.blobs.begin(), one.blobs.end());
      lease.blobs.insert(lease.blobs.end(), {record.manifest, record.config});
    }
    operation = images_.leaseOperation(lease);
  }
  std::vector<Check> out;
  for (const auto& b : bad) {
    if (!all) break;
    const std::string path = root_.path() + "/images/" + b.file;
    out.push_back({Check::State::damaged, "record", {}, path, b.text, "remove the file, then import or pull its image again", 0, {}});
  }
  {
    const Defer endLease([&] { images_.endLease(lease); });
    const StoreVerifier verifier(root_, blobs_, layers_, images_, registries_.parallel);
    for (Check& check : verifier.run(records, every, all, watch)) out.push_back(std::move(check));
  }
  // What was removed meanwhile was still there for us.
  if (std::any_of(records.begin(), records.end(), [&](const ImageRecord& r) { return !images_.find(r.name); })) collect();
  return out;
}

// The layer is unpacked before anybody can say its digest; then it is an image like any other.
Resolved ImageLibrary::importTar(const Reference& reference, const Request& request, const std::string& name, const Watch& watch) {
  const std::string what = "tar:" + toUtf8(reference.path);
  if (request.sourceFd < 0) throw Error("image", Code::invalid, what + ": the client gave no descriptor of the file");
  TarFile file = openTar(request.sourceFd, what);
  PreparedLayer layer = layers_.prepare(std::move(file.file), what, true, watch);
  if (layer.layer.facts.entries == 0)
    throw Error("image", Code::invalid, what + " holds no files", "name the tar file of a root file system");
  const std::unique_ptr<Source> source = tarSource(layer, file.compression, reference);
  const Descriptor manifest = source->find();
  LayerRecord record{layer.blob, layer.diffId, {}, layer.blobSize};
  Lease lease = leaseFor({}, name, manifest.digest, {}, {record});
  UniqueFd operation;
  {
    const UniqueFd held = root_.lock();
    operation = images_.leaseOperation(lease);
  }
  const Defer endLease([&] { images_.endLease(lease); });
  std::vector<std::string> notes;
  for (const std::string& n : layer.layer.facts.notes) notes.push_back("layer " + layer.diffId + ": " + n);
  layers_.place(std::move(layer), watch);
  Resolved out = resolveFrom(*source, reference, request, name, watch);
  out.notes.insert(out.notes.end(), notes.begin(), notes.end());
  return out;
}

}  // namespace rauha::oci
