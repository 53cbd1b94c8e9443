#include "plugins/image-oci/layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "plugins/image-oci/ahead.h"
#include "plugins/image-oci/blob_store.h"
#include "plugins/image-oci/json_text.h"
#include "plugins/image-oci/tree.h"

namespace rauha::oci {
namespace {

using nlohmann::json;

constexpr uint64_t kAheadMin = 1u << 20;  // bytes of a blob; below, threads cost more than they bring

// Ends a layer that grows out of all proportion to what was read for it.
class RatioGuard final : public ByteStream {
 public:
  RatioGuard(std::unique_ptr<ByteStream> below, const DigestStream& packed, const Limits& limits, std::string what)
      : below_(std::move(below)), packed_(packed), limits_(limits), what_(std::move(what)) {}
  std::string_view next() override {
    const std::string_view block = below_->next();
    count_ += block.size();
    if (count_ > limits_.ratioFree && count_ / limits_.ratioMax > packed_.count())
      throw Error("image", Code::limit,
                  what_ + ": " + std::to_string(packed_.count()) + " bytes unpack to more than " + std::to_string(count_) +
                      ": a decompression bomb");
    return block;
  }
  void interrupt() noexcept override { below_->interrupt(); }

 private:
  std::unique_ptr<ByteStream> below_;
  const DigestStream& packed_;
  const Limits& limits_;
  std::string what_;
  uint64_t count_ = 0;
};

// The digest stream is used after the chain that reads through it was given away: this end borrows.
class Borrowed final : public ByteStream {
 public:
  explicit Borrowed(ByteStream& below) : below_(below) {}
  std::string_view next() override { return below_.next(); }
  void interrupt() noexcept override { below_.interrupt(); }

 private:
  ByteStream& below_;
};

// Names, padding and extended headers beside the content.
uint64_t tarLimit(const Limits& l) {
  const uint64_t headers = l.entriesMax > (uint64_t{1} << 40) ? uint64_t{1} << 52 : l.entriesMax * 4096;
  return l.layerBytesMax > (uint64_t{1} << 62) ? uint64_t{1} << 63 : l.layerBytesMax + headers + (1u << 20);
}

StoredLayer recordOf(const json& doc, const std::string& what) try {
  if (!doc.is_object())
    throw Error("image", Code::corrupt, what + " is no object", "rauha image verify names the images that need the layer");
  StoredLayer out;
  out.facts.bytes = jsonNumber(doc, "bytes", what);
  out.facts.entries = jsonNumber(doc, "entries", what);
  out.facts.opaqueRoot = doc.value("opaque_root", false);
  out.facts.notesDropped = jsonNumber(doc, "notes_dropped", what);
  if (const json* notes = jsonArray(doc, "notes", what))
    for (const json& n : *notes) out.facts.notes.push_back(n.get<std::string>());
  if (const json* blobs = jsonArray(doc, "blobs", what))
    for (const json& b : *blobs) out.blobs.insert(b.get<std::string>());
  return out;
} catch (const json::exception&) {
  throw Error("image", Code::corrupt, what + " is damaged", "rauha image verify names the images that need the layer");
}

}  // namespace

std::optional<StoredLayer> LayerStore::find(const std::string& diffId) const {
  const std::string hex = hexOf(diffId);
  if (faccessat(root_.layers(), (hex + "/layer.json").c_str(), F_OK, 0) != 0) {
    forget(diffId);
    return std::nullopt;
  }
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (const auto it = known_.find(diffId); it != known_.end()) return it->second;
  }
  const UniqueFd fd(openat(root_.layers(), (hex + "/layer.json").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throwIo("open the record of layer " + diffId);
  const std::string what = "record of layer " + diffId;
  const json doc = parseJson(readAll(fd.get(), what, kJsonMax), what);
  StoredLayer out = recordOf(doc, what);
  const std::lock_guard<std::mutex> guard(mutex_);
  known_[diffId] = out;
  return out;
}

void LayerStore::forget(const std::string& diffId) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  known_.erase(diffId);
}

StoredLayer LayerStore::ensure(const LayerSource& source, const Watch& watch) const {
  const auto good = [&](const StoredLayer& l) {
    return (!source.checkBlob || l.blobs.count(source.blob.digest) > 0) && (!source.wantBlob || !keep_ || blobs_.has(source.blob.digest));
  };
  if (auto there = find(source.diffId); there && good(*there)) return *there;
  const std::string hex = hexOf(source.diffId);
  const UniqueFd working = root_.lockLayer(hex, watch);
  StoredLayer layer;
  if (auto there = find(source.diffId)) {  // by another call meanwhile, or packed differently in another image
    if (good(*there)) return *there;
    verifyOnly(source, watch);
    layer = std::move(*there);
    addBlob(source.diffId, layer, source.blob.digest);
  } else {
    layer = unpack(source, watch);
    makeVisible("layer-" + hex, source.diffId);
  }
  const std::lock_guard<std::mutex> guard(mutex_);
  known_[source.diffId] = layer;
  return layer;
}

void LayerStore::makeVisible(const std::string& temporary, const std::string& diffId) const {
  const UniqueFd held = root_.lock();
  if (renameat(root_.tmp(), temporary.c_str(), root_.layers(), hexOf(diffId).c_str()) != 0 || fsync(root_.layers()) != 0)
    throwIo("put layer " + diffId + " into the store");
}

void LayerStore::addBlob(const std::string& diffId, StoredLayer& layer, const std::string& blob) const {
  if (!layer.blobs.insert(blob).second) return;
  const UniqueFd held = root_.lock();
  writeRecord(openChildDir(root_.layers(), hexOf(diffId), "layer " + diffId).get(), layer, true);
}

StoredLayer LayerStore::unpack(const LayerSource& source, const Watch& watch) const {
  const std::string temporary = "layer-" + hexOf(source.diffId);
  removeTree(root_.tmp(), temporary);  // of a call that was killed: the layer's lock is ours, so nobody is at work there
  Defer undo([&] {
    try {
      removeTree(root_.tmp(), temporary);
    } catch (const Error&) {  // reconcile finds it again
    }
  });
  const UniqueFd dir = makeDir(root_.tmp(), temporary, "layer " + source.diffId);
  const UniqueFd fs = makeDir(dir.get(), "fs", "layer " + source.diffId);
  if (fchmod(fs.get(), 0755) != 0) throwIo("layer " + source.diffId);
  const Streamed got = streamChecked(source, watch, fs.get());
  StoredLayer layer{got.facts, {source.blob.digest}};
  writeRecord(dir.get(), layer, false);
  // A visible layer must be whole even after a loss of power; one sync of the file system is cheaper than one of each file.
  if (syncfs(fs.get()) != 0) throwIo("write layer " + source.diffId + " to disk");
  if (got.kept) got.kept->commit(source.blob.digest, source.blob.size);
  undo.dismiss();
  return layer;
}

PreparedLayer::~PreparedLayer() {
  if (temporary_.empty()) return;
  try {
    removeTree(root_->tmp(), temporary_);
  } catch (const Error&) {  // reconcile finds it again
  }
}

PreparedLayer LayerStore::prepare(OpenFile file, const std::string& what, bool keep, const Watch& watch) const {
  PreparedLayer out(root_);
  // A name as if it were a layer's, so that its lock says that somebody is at work there.
  const std::string hex = hexOf(sha256(newId("prepared")));
  out.working_ = root_.lockLayer(hex, watch);
  out.temporary_ = "layer-" + hex;
  out.dir_ = makeDir(root_.tmp(), out.temporary_, what);
  out.fs_ = makeDir(out.dir_.get(), "fs", what);
  if (fchmod(out.fs_.get(), 0755) != 0) throwIo(what);
  out.blobSize = file.size;
  Streamed got = stream(std::move(file), what, watch, out.fs_.get(), keep);
  out.diffId = got.diffId;
  out.blob = got.blob;
  out.layer = {got.facts, {got.blob}};
  out.kept_ = std::move(got.kept);
  return out;
}

void LayerStore::place(PreparedLayer&& prepared, const Watch& watch) const {
  PreparedLayer taken = std::move(prepared);
  prepared.temporary_.clear();
  const UniqueFd working = root_.lockLayer(hexOf(taken.diffId), watch);
  if (auto there = find(taken.diffId)) {
    addBlob(taken.diffId, *there, taken.blob);
    taken.layer = std::move(*there);
  } else {
    writeRecord(taken.dir_.get(), taken.layer, false);
    if (syncfs(taken.fs_.get()) != 0) throwIo("write layer " + taken.diffId + " to disk");
    makeVisible(taken.temporary_, taken.diffId);
    taken.temporary_.clear();
  }
  if (taken.kept_ && !blobs_.has(taken.blob)) taken.kept_->commit(taken.blob, taken.blobSize);
  const std::lock_guard<std::mutex> guard(mutex_);
  known_[taken.diffId] = taken.layer;
}

void LayerStore::verifyOnly(const LayerSource& source, const Watch& watch) const {
  const Streamed got = streamChecked(source, watch, -1);
  if (got.kept) got.kept->commit(source.blob.digest, source.blob.size);
}

LayerStore::Streamed LayerStore::streamChecked(const LayerSource& source, const Watch& watch, int fsFd) const {
  const std::string what = "layer " + (source.checkBlob ? source.blob.digest : source.diffId);
  OpenFile file = source.open();
  if (source.checkBlob) checkSize(what, source.blob.size, file.size);
  Streamed got = stream(std::move(file), what, watch, fsFd, !blobs_.has(source.blob.digest));
  if (source.checkBlob) checkDigest(what, source.blob.digest, got.blob);
  checkDigest(what + ": its tar", source.diffId, got.diffId);
  if (got.blob != source.blob.digest) got.kept.reset();  // of a docker archive, whose digests nobody declared
  return got;
}

// One pass: file -> progress -> digest of the blob -> decompression -> ratio -> digest of the tar -> tar. A layer of some size goes through
// it on three threads: receiving and the blob's digest; decompression; the tar's digest and the files.
LayerStore::Streamed LayerStore::stream(OpenFile file, const std::string& what, const Watch& watch, int fsFd, bool keep) const {
  Streamed out;
  auto received = watched(std::move(file.stream), watch, what, file.size);
  if (keep && keep_) {
    out.kept = file.inTmp.empty() ? KeptBlob::begin(root_) : KeptBlob::of(root_, file.inTmp, std::move(file.inTmpHeld));
    if (out.kept && file.inTmp.empty()) received = keeping(std::move(received), *out.kept);
  }
  DigestStream packed(std::move(received), file.size, what);
  const bool large = file.size >= kAheadMin;
  const auto onItsOwn = [&](std::unique_ptr<ByteStream> stream) { return large ? ahead(std::move(stream)) : std::move(stream); };
  // decompress() reads the first block: the stage below it is at work from here on.
  auto plain = decompress(onItsOwn(std::make_unique<Borrowed>(packed)), what);
  auto tarStream = std::make_unique<DigestStream>(onItsOwn(std::make_unique<RatioGuard>(std::move(plain), packed, limits_, what)),
                                                  tarLimit(limits_), what + " (unpacked)");
  DigestStream& tar = *tarStream;
  if (fsFd >= 0) out.facts = unpackLayer(tar, fsFd, limits_, watch, what);
  out.diffId = tar.finish();
  tarStream.reset();  // its threads used `packed`
  out.blob = packed.finish();
  return out;
}

void LayerStore::writeRecord(int dir, const StoredLayer& layer, bool durable) const {
  const json doc = {{"bytes", layer.facts.bytes},
                    {"entries", layer.facts.entries},
                    {"opaque_root", layer.facts.opaqueRoot},
                    {"notes", layer.facts.notes},
                    {"notes_dropped", layer.facts.notesDropped},
                    {"blobs", layer.blobs}};
  root_.writeWhole(dir, "layer.json", doc.dump(-1, ' ', false, json::error_handler_t::replace), durable);
}

std::vector<std::string> LayerStore::diffIds() const {
  std::vector<std::string> out;
  for (const std::string& name : namesIn(root_.layers(), "the layers")) out.push_back("sha256:" + name);
  return out;
}

std::string LayerStore::hide(const std::string& diffId) const {
  const std::string trash = newId("trash");
  if (renameat(root_.layers(), hexOf(diffId).c_str(), root_.tmp(), trash.c_str()) != 0) throwIo("remove layer " + diffId);
  forget(diffId);
  return trash;
}

}  // namespace rauha::oci
