#include "plugins/image-oci/image_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

using nlohmann::json;

constexpr std::string_view kOperation = "op_";

std::string fileOf(const std::string& name) { return hexOf(sha256(name)) + ".json"; }

std::optional<json> readDocument(int dir, const std::string& file) {
  const UniqueFd fd(openat(dir, file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throwIo("open record " + file);
  json doc = parseJson(readAll(fd.get(), "record " + file, kJsonMax), "record " + file);
  if (!doc.is_object())
    throw Error("image", Code::corrupt, "record " + file + " of the image store is damaged", "remove the file and import the image again");
  return doc;
}

ImageRecord recordOf(const json& doc, const std::string& file) {
  const std::string what = "record " + file;
  ImageRecord r;
  r.name = jsonText(doc, "name", what);
  r.reference = jsonText(doc, "reference", what);
  r.source = jsonText(doc, "source", what);
  r.manifest = jsonText(doc, "manifest", what);
  r.config = jsonText(doc, "config", what);
  r.bytes = jsonNumber(doc, "bytes", what);
  r.createdNs = static_cast<int64_t>(jsonNumber(doc, "created_ns", what));
  const json* layers = jsonArray(doc, "layers", what);
  if (layers != nullptr)
    for (const json& l : *layers)
      r.layers.push_back(
          {jsonText(l, "digest", what), jsonText(l, "diff_id", what), jsonText(l, "media_type", what), jsonNumber(l, "size", what)});
  const bool whole = isSha256(r.manifest) && isSha256(r.config) && !r.layers.empty() &&
                     std::all_of(r.layers.begin(), r.layers.end(), [](const LayerRecord& l) { return isSha256(l.diffId); });
  if (!whole) throw Error("image", Code::corrupt, what + " of the image store is damaged", "remove the file and import the image again");
  return r;
}

json documentOf(const Lease& lease) {
  return {{"owner", lease.owner},   {"name", lease.name},      {"manifest", lease.manifest},
          {"config", lease.config}, {"layers", lease.diffIds}, {"blobs", lease.blobs}};
}

Lease leaseOf(const json& doc, const std::string& file) {
  const std::string what = "lease " + file;
  Lease out{
      file, jsonText(doc, "owner", what), jsonText(doc, "name", what), jsonText(doc, "manifest", what), jsonText(doc, "config", what), {},
      {}};
  const auto texts = [&](const char* key, std::vector<std::string>& to) {
    if (const json* list = jsonArray(doc, key, what))
      for (const json& l : *list)
        if (l.is_string()) to.push_back(l.get<std::string>());
  };
  texts("layers", out.diffIds);
  texts("blobs", out.blobs);
  return out;
}

bool isOperation(const std::string& file) { return file.compare(0, kOperation.size(), kOperation) == 0; }

}  // namespace

Lease leaseFor(std::string_view owner, const std::string& name, const std::string& manifest, const std::string& config,
               const std::vector<LayerRecord>& layers) {
  // A zone may use several images: one file each.
  Lease out{std::string(owner) + "." + hexOf(manifest).substr(0, 16) + ".json", std::string(owner), name, manifest, config, {}, {}};
  for (const LayerRecord& l : layers) {
    out.diffIds.push_back(l.diffId);
    if (!l.digest.empty()) out.blobs.push_back(l.digest);
  }
  return out;
}

void checkLeaseOwner(std::string_view owner) {
  const bool good = !owner.empty() && owner.size() <= 64 && std::all_of(owner.begin(), owner.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (!good || owner.substr(0, kOperation.size()) == kOperation)
    throw Error("image", Code::invalid, "lease '" + toUtf8(owner.substr(0, 80)) + "' is not a zone's id");
}

std::optional<ImageRecord> ImageStore::find(const std::string& name) const {
  const std::string file = fileOf(name);
  const auto doc = readDocument(root_.images(), file);
  if (!doc) return std::nullopt;
  return recordOf(*doc, file);
}

std::vector<ImageRecord> ImageStore::list(std::vector<BadRecord>* bad) const {
  std::vector<ImageRecord> out;
  for (const std::string& file : namesIn(root_.images(), "the image records")) {
    try {
      if (const auto doc = readDocument(root_.images(), file)) out.push_back(recordOf(*doc, file));
    } catch (const Error& e) {
      if (bad == nullptr) throw;
      bad->push_back({file, e.text()});
    }
  }
  std::sort(out.begin(), out.end(), [](const ImageRecord& a, const ImageRecord& b) { return a.name < b.name; });
  return out;
}

std::string ImageStore::pathOf(const std::string& name) const { return root_.path() + "/images/" + fileOf(name); }

void ImageStore::put(const ImageRecord& r) const {
  json layers = json::array();
  for (const LayerRecord& l : r.layers)
    layers.push_back({{"digest", l.digest}, {"diff_id", l.diffId}, {"media_type", l.mediaType}, {"size", l.size}});
  const json doc = {{"name", r.name},     {"reference", r.reference}, {"source", r.source},        {"manifest", r.manifest},
                    {"config", r.config}, {"bytes", r.bytes},         {"created_ns", r.createdNs}, {"layers", layers}};
  root_.writeWhole(root_.images(), fileOf(r.name), doc.dump(-1, ' ', false, json::error_handler_t::replace), true);
}

void ImageStore::remove(const std::string& name) const {
  if (unlinkat(root_.images(), fileOf(name).c_str(), 0) != 0 && errno != ENOENT) throwIo("remove the record of image " + name);
}

// Not made durable: after a loss of power there is no zone that could use it.
void ImageStore::lease(const Lease& lease) const {
  root_.writeWhole(root_.leases(), lease.file, documentOf(lease).dump(-1, ' ', false, json::error_handler_t::replace), false);
}

UniqueFd ImageStore::leaseOperation(Lease& lease) const {
  UniqueFd fd = root_.newLocked(root_.leases(), kOperation.substr(0, kOperation.size() - 1), lease.file);
  Defer undo([&] { endLease(lease); });
  const std::string text = documentOf(lease).dump(-1, ' ', false, json::error_handler_t::replace);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) throwIo("write a lease");
  undo.dismiss();
  return fd;
}

void ImageStore::endLease(const Lease& lease) const noexcept { unlinkat(root_.leases(), lease.file.c_str(), 0); }

bool ImageStore::release(std::string_view owner) const {
  checkLeaseOwner(owner);
  const std::string prefix = std::string(owner) + ".";
  bool any = false;
  for (const std::string& file : namesIn(root_.leases(), "the leases")) {
    if (file.compare(0, prefix.size(), prefix) != 0) continue;
    any = true;
    if (unlinkat(root_.leases(), file.c_str(), 0) != 0 && errno != ENOENT) throwIo("remove lease " + file);
  }
  return any;
}

void ImageStore::endOthers(const std::vector<std::string_view>& living) const {
  for (const std::string& file : namesIn(root_.leases(), "the leases")) {
    if (isOperation(file)) continue;
    const std::string_view owner = std::string_view(file).substr(0, file.find('.'));
    if (std::find(living.begin(), living.end(), owner) == living.end() && unlinkat(root_.leases(), file.c_str(), 0) != 0 && errno != ENOENT)
      throwIo("remove lease " + file);
  }
}

std::vector<Lease> ImageStore::leases() const {
  std::vector<Lease> out;
  for (const std::string& file : namesIn(root_.leases(), "the leases")) {
    if (isOperation(file) && !isHeld(root_.leases(), file)) {
      unlinkat(root_.leases(), file.c_str(), 0);
      continue;
    }
    if (const auto doc = readDocument(root_.leases(), file)) out.push_back(leaseOf(*doc, file));
  }
  return out;
}

}  // namespace rauha::oci
