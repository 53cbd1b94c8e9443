#include "plugins/image-oci/library.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/on_threads.h"
#include "plugins/image-oci/registry/partial_blob.h"
#include "plugins/image-oci/source_registry.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

std::vector<LayerRecord> layersOf(const Manifest& manifest, const Config& config) {
  std::vector<LayerRecord> out;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const Descriptor& blob = manifest.layers[i];
    out.push_back({blob.digest, config.diffIds[i], blob.mediaType, blob.size});
  }
  return out;
}

// A tar has no digest that would say whether it was read before.
void refuseTar(const Reference& reference) {
  if (reference.kind != Reference::Kind::tar) return;
  throw Error("image", Code::unsupported, "image '" + toUtf8(reference.text) + "': a root file system's tar can only be imported",
              "rauha image import " + toUtf8(reference.text) + " --name NAME, then use NAME", toUtf8(reference.text));
}

void needSource(const Reference& reference, const Request& request) {
  if (request.sourceFd < 0)
    throw Error("image", Code::invalid,
                "image reference '" + toUtf8(reference.text) + "': the client gave no descriptor of '" + toUtf8(reference.path) + "'",
                "whoever asks opens the directory or file with its own rights and passes the descriptor");
}

}  // namespace

ImageLibrary::ImageLibrary(const std::string& path, Limits limits, RegistrySettings registries, bool keepBlobs)
    : root_(path),
      limits_(limits),
      registries_(std::move(registries)),
      keepBlobs_(keepBlobs),
      blobs_(root_),
      layers_(root_, blobs_, limits_, keepBlobs),
      images_(root_) {}

std::unique_ptr<Source> ImageLibrary::openSource(const Reference& reference, const Request& request, const Watch& watch) const {
  needSource(reference, request);
  const std::string what = std::string(reference.source()) + ":" + toUtf8(reference.path);
  switch (reference.kind) {
    case Reference::Kind::oci:
      return ociSource(directoryFiles(request.sourceFd, request.caller, what), reference);
    case Reference::Kind::ociArchive:
      return ociSource(tarFiles(request.sourceFd, root_, limits_.layerBytesMax, watch, what), reference);
    case Reference::Kind::dockerArchive:
      return dockerArchiveSource(tarFiles(request.sourceFd, root_, limits_.layerBytesMax, watch, what), reference);
    default:
      throw Error("image", Code::internal, "image reference '" + toUtf8(reference.text) + "' has no source");
  }
}

// The store's copies of manifest and configuration were verified when they came.
ImageLibrary::Documents ImageLibrary::readDocuments(Source& source, const Platform& platform, const std::string& what) const {
  Documents out;
  out.manifest = source.find();
  const auto get = [&](const Descriptor& d, const char* role) {
    std::optional<std::string> stored = blobs_.read(d.digest);
    return stored ? std::move(*stored) : source.document(d, role);
  };
  out.manifestText = get(out.manifest, "manifest");
  out.parsed = parseManifest(out.manifestText, what + ": manifest " + out.manifest.digest);
  out.configText = get(out.parsed.config, "configuration");
  out.config = parseConfig(out.configText, what + ": configuration " + out.parsed.config.digest);
  checkMatch(out.parsed, out.config, platform, what);
  if (out.parsed.layers.empty()) throw Error("image", Code::invalid, what + ": the image has no layers");
  return out;
}

Resolved ImageLibrary::resolve(const Request& request, const Watch& watch) {
  const Reference reference = parseReference(request.reference);
  if (!request.lease.empty()) checkLeaseOwner(request.lease);
  checkAllowed(reference, request);
  refuseTar(reference);
  switch (reference.kind) {
    case Reference::Kind::host:
      return hostImage();
    case Reference::Kind::dir:
      return directory(reference, request);
    case Reference::Kind::stored:
      return resolveName(reference, request, watch);
    default:
      return resolveSource(reference, request, reference.text, watch);
  }
}

Resolved ImageLibrary::importImage(const Request& request, const Watch& watch) {
  const Reference reference = parseReference(request.reference);
  if (reference.kind == Reference::Kind::stored && !images_.find(reference.name))
    refuseAbsent(reference, "", "to get it from a registry: rauha image pull " + toUtf8(reference.text));
  if (reference.kind == Reference::Kind::host || reference.kind == Reference::Kind::dir || reference.kind == Reference::Kind::stored)
    throw Error("image", Code::invalid,
                "image '" + toUtf8(reference.text) + "' cannot be imported: it is " +
                    (reference.kind == Reference::Kind::stored ? "stored already" : "used where it is"),
                "images are imported from oci:DIR, oci-archive:FILE, docker-archive:FILE or tar:FILE");
  const std::string name = request.name.empty() ? nameFor(reference) : parseStoredName(request.name);
  Request plain = request;
  plain.lease = {};
  plain.complete = reference.kind != Reference::Kind::tar;  // which comes whole, and once
  if (reference.kind == Reference::Kind::tar) return importTar(reference, plain, name, watch);
  return resolveSource(reference, plain, name, watch);
}

Resolved ImageLibrary::resolveSource(const Reference& reference, const Request& request, const std::string& name, const Watch& watch) {
  const std::unique_ptr<Source> source = openSource(reference, request, watch);
  return resolveFrom(*source, reference, request, name, watch);
}

Resolved ImageLibrary::resolveFrom(Source& source, const Reference& reference, const Request& request, const std::string& name,
                                   const Watch& watch) {
  const std::string what =
      reference.kind == Reference::Kind::stored ? "image " + name : std::string(reference.source()) + ":" + toUtf8(reference.path);
  const Documents docs = readDocuments(source, request.platform.value_or(hostPlatform()), what);
  // First the lease, then the layers: what a lease names is not collected.
  Lease lease = leaseFor(request.lease, name, docs.manifest.digest, docs.parsed.config.digest, layersOf(docs.parsed, docs.config));
  UniqueFd operation;
  {
    const UniqueFd held = root_.lock();
    if (request.lease.empty())
      operation = images_.leaseOperation(lease);
    else
      images_.lease(lease);
  }
  Defer endLease([&] { images_.endLease(lease); });
  std::vector<std::string> notes;
  const ImageRecord record = store(reference, name, docs, source, request.complete || request.pull == Pull::always, watch, notes);
  Resolved out = present(record, name == reference.text ? reference.text : name, docs.configText, true);
  out.notes = std::move(notes);
  if (!request.lease.empty()) endLease.dismiss();
  return out;
}

ImageRecord ImageLibrary::store(const Reference& reference, const std::string& name, const Documents& docs, Source& source, bool complete,
                                const Watch& watch, std::vector<std::string>& notes) {
  const std::string what = "image '" + toUtf8(reference.text) + "'";
  blobs_.putText(docs.manifest.digest, docs.manifestText, what + ": manifest");
  blobs_.putText(docs.parsed.config.digest, docs.configText, what + ": configuration");
  const std::string from = reference.kind == Reference::Kind::stored ? "registry" : std::string(reference.source());
  ImageRecord record{name, reference.text, from, docs.manifest.digest, docs.parsed.config.digest, 0, 0, layersOf(docs.parsed, docs.config)};
  const std::vector<StoredLayer> layers = storeLayers(docs, source, complete, watch, notes);
  std::set<std::string> seen;
  for (size_t i = 0; i < layers.size(); ++i)
    if (seen.insert(docs.config.diffIds[i]).second) record.bytes += layers[i].facts.bytes;
  const std::optional<ImageRecord> before = images_.find(name);
  if (before && before->manifest == record.manifest && before->source == record.source) return *before;
  record.createdNs = realNs();
  {
    const UniqueFd held = root_.lock();
    images_.put(record);
  }
  if (before) collect();  // the name meant another image until now
  return record;
}

StoredLayer ImageLibrary::storeLayer(const Descriptor& blob, const std::string& diffId, Source& source, bool complete, const Watch& watch) {
  for (;;) {
    try {
      StoredLayer layer = layers_.ensure({blob, diffId, source.declaresDigests(), [&] { return source.layer(blob); }, complete}, watch);
      source.settled(blob, true);
      return layer;
    } catch (const Error& e) {
      const bool bytes = e.code() == Code::corrupt || e.code() == Code::invalid || e.code() == Code::limit;
      if (!bytes || !source.settled(blob, false)) throw;
    }
  }
}

std::vector<StoredLayer> ImageLibrary::storeLayers(const Documents& docs, Source& source, bool complete, const Watch& watch,
                                                   std::vector<std::string>& notes) {
  const size_t count = docs.parsed.layers.size();
  std::vector<StoredLayer> out(count);
  std::vector<bool> fresh(count);
  for (size_t i = 0; i < count; ++i) fresh[i] = !layers_.find(docs.config.diffIds[i]);
  onThreads(
      count, source.parallel(), watch,
      [&](size_t i, const Watch& own) { out[i] = storeLayer(docs.parsed.layers[i], docs.config.diffIds[i], source, complete, own); },
      [&] { source.abandon(); });
  for (size_t i = 0; i < count; ++i)
    if (fresh[i])
      for (const std::string& n : out[i].facts.notes) notes.push_back("layer " + docs.config.diffIds[i] + ": " + n);
  return out;
}

// What a policy demands, before anything is opened or fetched. A stored name counts by where it came from; that is looked up here too, so
// that an import under a registry's name does not pass for the registry's.
void ImageLibrary::checkAllowed(const Reference& reference, const Request& request) const {
  const std::string shown = toUtf8(std::string_view(reference.text).substr(0, 200));
  if (request.requireDigest && reference.digest.empty())
    throw Error("image", Code::denied, "image '" + shown + "' is not named by digest, and the policy demands that",
                reference.kind == Reference::Kind::stored || reference.kind == Reference::Kind::oci
                    ? "name it as " + shown.substr(0, shown.find('@')) +
                          "@sha256:… (rauha image list shows digests); or the policy line images.require_digest = false"
                    : "use an image that has a digest; or the policy line images.require_digest = false",
                shown);
  if (request.registries.empty()) return;
  std::string from(reference.source());
  if (reference.kind == Reference::Kind::stored) {
    const std::optional<ImageRecord> record = images_.find(reference.name);
    from = record && record->source != "registry" ? record->source : reference.domain;
  }
  checkOrigin(from, reference, request);
}

void ImageLibrary::checkOrigin(const std::string& from, const Reference& reference, const Request& request) {
  if (request.registries.empty() || std::find(request.registries.begin(), request.registries.end(), from) != request.registries.end())
    return;
  const std::string shown = toUtf8(std::string_view(reference.text).substr(0, 200));
  std::string line;
  for (const std::string& r : request.registries) line += "\"" + toUtf8(r) + "\", ";
  throw Error("image", Code::denied, "image '" + shown + "' comes from '" + from + "', which the policy does not allow",
              "the policy line that would allow it: images.registries = [" + line + "\"" + from + "\"]", shown);
}

// What a name means: an image of the store, or one that a registry has.
Resolved ImageLibrary::resolveName(const Reference& reference, const Request& request, const Watch& watch) {
  if (request.pull != Pull::always)
    if (std::optional<Resolved> stored = resolveStored(reference, request)) return std::move(*stored);
  if (request.pull == Pull::never)
    refuseAbsent(reference, ", and --pull never forbids to fetch it", "rauha image list shows what is there; rauha image pull fetches it");
  if (!registries_.pull)
    refuseAbsent(reference, ", and this instance fetches nothing (pull = false in [plugin.image-oci] of rauha.toml)",
                 "copy it once with another tool, then use the copy: oci:DIR, docker-archive:FILE");
  return pullImage(reference, request, watch);
}

Resolved ImageLibrary::pullImage(const Reference& reference, const Request& request, const Watch& watch) {
  if (const std::string fault = registryFault(reference); !fault.empty())
    refuseAbsent(reference, ", and no registry can have it: " + fault, "rauha image list shows the names that are stored");
  checkOrigin(reference.domain, reference, request);  // what is stored under the name may have come from elsewhere
  RegistryClient client(registries_, memory_, watch, {reference.domain, reference.repository}, request.credentials);
  const std::unique_ptr<Source> source = registrySource(client, root_, registries_.parallel,
                                                        {reference.tag, reference.digest, request.platform.value_or(hostPlatform()),
                                                         [this](const std::string& digest) { return blobs_.read(digest); }});
  try {
    return resolveFrom(*source, reference, request, reference.name, watch);
  } catch (const Error& e) {
    // The name may have been meant for something that is no registry's.
    const std::string meant = e.code() == Code::notFound || e.code() == Code::denied ? meantKind(reference.text) : std::string();
    if (meant.empty() && !e.object().empty()) throw;
    throw Error("image", e.code(), e.text(), meant + e.hint(), reference.text);
  }
}

std::optional<Resolved> ImageLibrary::resolveStored(const Reference& reference, const Request& request) {
  const auto leased = [&]() -> std::optional<ImageRecord> {
    const UniqueFd held = root_.lock();  // between looking and leasing nobody may collect
    std::optional<ImageRecord> record = images_.find(reference.name);
    if (record && !request.lease.empty())
      images_.lease(leaseFor(request.lease, record->name, record->manifest, record->config, record->layers));
    return record;
  };
  const std::optional<ImageRecord> record = leased();
  if (!record) return std::nullopt;
  Defer endLease([&] {
    if (!request.lease.empty()) images_.endLease(leaseFor(request.lease, record->name, record->manifest, record->config, {}));
  });
  const std::optional<std::string> config = blobs_.read(record->config);
  if (!config)
    throw Error("image", Code::corrupt, "image '" + record->name + "': its configuration " + record->config + " is missing from the store",
                "import or pull it again");
  const Platform wanted = request.platform.value_or(hostPlatform());
  const Platform found = parseConfig(*config, "image '" + record->name + "': configuration " + record->config).platform;
  if ((!found.os.empty() && found.os != wanted.os) || (!found.architecture.empty() && found.architecture != wanted.architecture))
    return std::nullopt;
  for (const LayerRecord& l : record->layers)
    if (!layers_.find(l.diffId))
      throw Error("image", Code::corrupt, "image '" + record->name + "': its layer " + l.diffId + " is missing from the store",
                  "import or pull it again");
  Resolved out = present(*record, record->name, *config, true);
  endLease.dismiss();
  return out;
}

Resolved ImageLibrary::directory(const Reference& reference, const Request& request) const {
  needSource(reference, request);
  struct stat meta {};
  if (fstat(request.sourceFd, &meta) != 0) throwIo("stat dir:" + toUtf8(reference.path));
  if (!S_ISDIR(meta.st_mode)) throw Error("image", Code::invalid, "dir:" + toUtf8(reference.path) + " is not a directory");
  Resolved out;
  out.reference = reference.text;
  out.source = "dir";
  out.layers.push_back({{}, request.sourceFd, request.caller.uid != 0, {}});
  return out;
}

Resolved ImageLibrary::present(const ImageRecord& record, std::string reference, std::string configText, bool forUse) const {
  Resolved out;
  out.reference = std::move(reference);
  out.digest = record.manifest;
  out.source = record.source;
  out.configJson = std::move(configText);
  out.bytes = record.bytes;
  out.createdNs = record.createdNs;
  for (const LayerRecord& l : record.layers) out.layers.push_back({layers_.pathOf(l.diffId), -1, false, l});
  if (!forUse) return out;
  // overlayfs refuses a directory twice. Of equal layers only the highest shows.
  std::set<std::string> seen;
  std::vector<ResolvedLayer> stack;
  for (auto it = out.layers.rbegin(); it != out.layers.rend(); ++it) {
    if (!seen.insert(it->record.diffId).second) continue;
    stack.push_back(*it);
    const auto layer = layers_.find(it->record.diffId);
    if (layer && layer->facts.opaqueRoot) break;  // overlayfs does not look for that mark on a layer's root
  }
  std::reverse(stack.begin(), stack.end());
  out.layers = std::move(stack);
  return out;
}

Resolved ImageLibrary::inspect(const Request& request, const Watch& watch) {
  const Reference reference = parseReference(request.reference);
  refuseTar(reference);
  switch (reference.kind) {
    case Reference::Kind::host:
      return hostImage();
    case Reference::Kind::dir:
      return directory(reference, request);
    case Reference::Kind::stored: {
      const std::optional<ImageRecord> record = images_.find(reference.name);
      if (!record) refuseAbsent(reference, "", "to get it from a registry: rauha image pull " + toUtf8(reference.text));
      return present(*record, record->name, blobs_.read(record->config).value_or(std::string()), false);
    }
    default:
      break;
  }
  const std::unique_ptr<Source> source = openSource(reference, request, watch);
  const Documents docs =
      readDocuments(*source, request.platform.value_or(hostPlatform()), std::string(reference.source()) + ":" + toUtf8(reference.path));
  ImageRecord record{
      reference.text, reference.text, std::string(reference.source()), docs.manifest.digest, docs.parsed.config.digest, 0, 0, {}};
  if (const auto stored = images_.find(reference.text); stored && stored->manifest == record.manifest) record = *stored;
  if (record.layers.empty()) record.layers = layersOf(docs.parsed, docs.config);
  return present(record, reference.text, docs.configText, false);
}

void ImageLibrary::release(std::string_view lease) {
  checkLeaseOwner(lease);
  bool orphaned = false;
  {
    const UniqueFd held = root_.lock();
    std::set<std::string> ended;
    for (const Lease& l : images_.leases())
      if (l.owner == lease) ended.insert(l.manifest);
    if (!images_.release(lease)) return;
    for (const ImageRecord& record : images_.list()) ended.erase(record.manifest);
    orphaned = !ended.empty();  // its name went to another image while the zone ran
  }
  if (orphaned) collect();
}

std::vector<Resolved> ImageLibrary::list() {
  std::vector<Resolved> out;
  for (const ImageRecord& record : images_.list())
    out.push_back(present(record, record.name, blobs_.read(record.config).value_or(std::string()), false));
  return out;
}

void ImageLibrary::remove(std::string_view text) {
  const Reference reference = parseReference(text);
  const std::string name = reference.kind == Reference::Kind::stored ? reference.name : reference.text;
  {
    const UniqueFd held = root_.lock();
    const std::optional<ImageRecord> record = images_.find(name);
    if (!record)
      throw Error("image", Code::notFound, "image '" + toUtf8(text) + "' is not in the store", "rauha image list shows what is there");
    for (const Lease& lease : images_.leases())
      if (lease.name == name || lease.manifest == record->manifest)
        throw Error("image", Code::busy,
                    "image '" + toUtf8(text) + "' is in use by " + (lease.owner.empty() ? "a call that works on it" : lease.owner),
                    "delete the zone first: rauha zone list, rauha zone delete NAME");
    images_.remove(name);
  }
  collect();
}

std::vector<Resolved> ImageLibrary::prune(bool all) {
  std::vector<Resolved> out;
  if (all) {
    const UniqueFd held = root_.lock();
    std::set<std::string> used;
    for (const Lease& l : images_.leases()) used.insert({l.manifest, l.name});
    for (const ImageRecord& record : images_.list()) {
      if (used.count(record.manifest) > 0 || used.count(record.name) > 0) continue;
      out.push_back(present(record, record.name, blobs_.read(record.config).value_or(std::string()), false));
      images_.remove(record.name);
    }
  }
  for (const std::string& name : namesIn(root_.tmp(), "the temporary files"))
    if (PartialBlob::isOne(name) && !isHeld(root_.tmp(), name)) removeTree(root_.tmp(), name);
  removeLeftovers();
  collect();
  return out;
}

void ImageLibrary::collect() {
  std::vector<std::string> trash;
  {
    const UniqueFd held = root_.lock();
    std::set<std::string> keepLayers, keepBlobs;
    for (const ImageRecord& r : images_.list()) {
      keepBlobs.insert({r.manifest, r.config});
      for (const LayerRecord& l : r.layers) {
        keepLayers.insert(l.diffId);
        keepBlobs.insert(l.digest);
      }
    }
    for (const Lease& l : images_.leases()) {
      keepBlobs.insert({l.manifest, l.config});
      keepLayers.insert(l.diffIds.begin(), l.diffIds.end());
      keepBlobs.insert(l.blobs.begin(), l.blobs.end());
    }
    for (const std::string& diffId : layers_.diffIds())
      if (keepLayers.count(diffId) == 0) trash.push_back(layers_.hide(diffId));
    for (const std::string& digest : blobs_.digests())
      if (keepBlobs.count(digest) == 0) blobs_.remove(digest);
  }
  for (const std::string& name : trash) removeTree(root_.tmp(), name);
}

void ImageLibrary::reconcile(const std::vector<std::string_view>& living) {
  {
    const UniqueFd held = root_.lock();
    images_.endOthers(living);
  }
  removeLeftovers();
  collect();
}

void ImageLibrary::removeLeftovers() {
  constexpr std::string_view kLayer = "layer-";
  for (const std::string& name : namesIn(root_.tmp(), "the temporary files")) {
    if (name.compare(0, kLayer.size(), kLayer) == 0) {
      const UniqueFd working = root_.tryLockLayer(name.substr(kLayer.size()));
      if (working) removeTree(root_.tmp(), name);
    } else if (PartialBlob::isOne(name)) {
      if (PartialBlob::isStale(root_.tmp(), name)) removeTree(root_.tmp(), name);
    } else if (!isHeld(root_.tmp(), name)) {
      removeTree(root_.tmp(), name);
    }
  }
  for (const std::string& hex : namesIn(root_.locks(), "the locks"))
    if (const UniqueFd working = root_.tryLockLayer(hex)) unlinkat(root_.locks(), hex.c_str(), 0);
}

}  // namespace rauha::oci
