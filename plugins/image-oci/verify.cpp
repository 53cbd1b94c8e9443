#include "plugins/image-oci/verify.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/utf8.h"
#include "plugins/image-oci/limits.h"
#include "plugins/image-oci/manifest.h"
#include "plugins/image-oci/on_threads.h"
#include "plugins/image-oci/stream.h"
#include "plugins/image-oci/tree.h"
#include "plugins/image-oci/tree_compare.h"

namespace rauha::oci {
namespace {

using State = Check::State;

constexpr const char* kManifest = "manifest";
constexpr const char* kConfiguration = "configuration";
constexpr const char* kBlob = "blob";
constexpr const char* kLayer = "layer";
constexpr const char* kStray = "no image needs it; rauha image prune removes it";

// What reading said: content that is wrong is damage, a disk that does not answer is not.
void note(Check& check, const Error& e) {
  if (e.code() == Code::cancelled || e.code() == Code::deadline) throw e;
  const bool content = e.code() == Code::corrupt || e.code() == Code::invalid || e.code() == Code::unsupported;
  check.state = content ? State::damaged : State::unknown;
  check.text = e.text();
  if (!content) check.remedy = e.hint();
}

std::vector<std::string> namesOf(const std::vector<ImageRecord>& records) {
  std::vector<std::string> out;
  for (const ImageRecord& r : records) out.push_back(r.name);
  return out;
}

}  // namespace

// One thing to look at, with the images that need it.
struct StoreVerifier::Subject {
  std::string kind, digest;
  std::vector<ImageRecord> records;
  // Of a layer: what was seen to unpack to it, with the images that have it so. First those of the images that were asked for.
  struct Blob {
    Descriptor descriptor;
    std::vector<ImageRecord> records;
    bool asked = false;
  };
  std::vector<Blob> blobs;
  void add(const LayerRecord& layer, const ImageRecord& record, bool asked);
};

void StoreVerifier::Subject::add(const LayerRecord& layer, const ImageRecord& record, bool asked) {
  auto at = std::find_if(blobs.begin(), blobs.end(), [&](const Blob& b) { return b.descriptor.digest == layer.digest; });
  if (at == blobs.end()) at = blobs.insert(blobs.end(), {{layer.mediaType, layer.digest, layer.size}, {}, false});
  if (at->records.empty() || at->records.back().name != record.name) at->records.push_back(record);
  at->asked |= asked;
}

std::string remedyFor(const std::vector<ImageRecord>& records) {
  if (records.empty()) return kStray;
  std::string out;
  for (size_t i = 0; i < records.size() && i < 4; ++i)
    out += (i == 0 ? "rauha image remove " : "; rauha image remove ") + toUtf8(records[i].name);
  for (size_t i = 0; i < records.size() && i < 4; ++i) {
    const ImageRecord& r = records[i];
    const bool pulled = r.source == "registry";
    out += pulled ? "; rauha image pull " + toUtf8(r.name) : "; rauha image import " + toUtf8(r.reference);
    if (!pulled && r.name != r.reference) out += " --name " + toUtf8(r.name);
  }
  return records.size() > 4 ? out + "; and so for the other images" : out;
}

std::vector<StoreVerifier::Subject> StoreVerifier::subjectsOf(const std::vector<ImageRecord>& records,
                                                              const std::vector<ImageRecord>& every) {
  std::map<std::string, Subject> byKey;
  std::set<std::string> asked;
  for (const ImageRecord& record : records) {
    asked.insert(record.name);
    byKey[kManifest + record.manifest] = {kManifest, record.manifest, {}, {}};
    byKey[kConfiguration + record.config] = {kConfiguration, record.config, {}, {}};
    for (const LayerRecord& l : record.layers) byKey[kLayer + l.diffId] = {kLayer, l.diffId, {}, {}};
  }
  const auto needs = [&](const std::string& key, const ImageRecord& record) -> Subject* {
    const auto it = byKey.find(key);
    if (it == byKey.end()) return nullptr;
    if (it->second.records.empty() || it->second.records.back().name != record.name) it->second.records.push_back(record);
    return &it->second;
  };
  for (const ImageRecord& record : every) {
    needs(kManifest + record.manifest, record);
    needs(kConfiguration + record.config, record);
    for (const LayerRecord& l : record.layers) {
      Subject* subject = needs(kLayer + l.diffId, record);
      if (subject != nullptr && !l.digest.empty()) subject->add(l, record, asked.count(record.name) > 0);
    }
  }
  std::vector<Subject> out;
  for (auto& [key, s] : byKey) {
    std::stable_partition(s.blobs.begin(), s.blobs.end(), [](const Subject::Blob& b) { return b.asked; });
    out.push_back(std::move(s));
  }
  return out;
}

// What no record names: left behind, or held by a zone whose image's name went to another one.
void StoreVerifier::addStrays(std::vector<Subject>& subjects) const {
  std::set<std::string> known;
  for (const Subject& s : subjects) {
    known.insert(s.digest);
    for (const Subject::Blob& b : s.blobs) known.insert(b.descriptor.digest);
  }
  for (const std::string& digest : blobs_.digests())
    if (isSha256(digest) && known.count(digest) == 0) subjects.push_back({kBlob, digest, {}, {}});
  for (const std::string& diffId : layers_.diffIds())
    if (isSha256(diffId) && known.count(diffId) == 0) subjects.push_back({kLayer, diffId, {}, {}});
}

void StoreVerifier::checkDocument(const Subject& subject, std::vector<Check>& out) const {
  Check check{State::good, subject.kind, subject.digest, blobs_.pathOf(subject.digest), {}, {}, 0, namesOf(subject.records)};
  try {
    std::optional<std::string> text = blobs_.read(subject.digest);
    if (!text) {
      check.state = State::missing;
      check.text = "it is not there";
    } else {
      check.bytes = text->size();
      checkDigest(check.path, subject.digest, sha256(*text));
    }
  } catch (const Error& e) {
    note(check, e);
    if (e.code() == Code::limit) check.state = State::damaged;  // larger than any document may be
  }
  if (check.state != State::good && check.remedy.empty()) check.remedy = remedyFor(subject.records);
  out.push_back(std::move(check));
}

bool StoreVerifier::checkBlob(const Descriptor& blob, const std::vector<ImageRecord>& records, std::vector<Check>& out,
                              const Watch& watch) const {
  Check check{State::good, kBlob, blob.digest, blobs_.pathOf(blob.digest), {}, {}, 0, namesOf(records)};
  try {
    std::optional<OpenFile> file = blobs_.open(blob.digest);
    if (!file) return false;
    if (!records.empty()) checkSize(check.path, blob.size, file->size);
    const uint64_t size = file->size;
    DigestStream bytes(watched(std::move(file->stream), watch, "blob " + blob.digest, size), size, check.path);
    const std::string found = bytes.finish();
    check.bytes = bytes.count();
    checkDigest(check.path, blob.digest, found);
  } catch (const Error& e) {
    note(check, e);
    if (check.remedy.empty()) check.remedy = remedyFor(records);
  }
  out.push_back(std::move(check));
  return out.back().state == State::good;
}

void StoreVerifier::compare(const Subject& subject, const Descriptor& blob, Check& check, const Watch& watch) const {
  const std::string what = "layer " + subject.digest;
  Watch quiet = watch;  // the blob's bytes were reported when they were hashed
  quiet.report = nullptr;
  std::optional<OpenFile> file = blobs_.open(blob.digest);
  if (!file) throw Error("image", Code::notFound, "its blob went while it was looked at", "run the command again");
  const PreparedLayer expected = layers_.prepare(std::move(*file), what, false, quiet);
  checkDigest(what + ": its tar", subject.digest, expected.diffId);
  const UniqueFd layer = openChildDir(root_.layers(), hexOf(subject.digest), what);
  const UniqueFd found = openChildDir(layer.get(), "fs", what);
  const std::string difference = differenceOf(found.get(), expected.fs(), quiet);
  check.bytes = expected.layer.facts.bytes;
  if (!difference.empty()) throw Error("image", Code::corrupt, "it is not what its blob unpacks to: " + difference);
}

void StoreVerifier::checkLayer(const Subject& subject, std::vector<Check>& out, const Watch& watch) const {
  const Descriptor* good = nullptr;
  bool kept = false;
  for (const auto& [blob, records, asked] : subject.blobs) {
    if (!asked && good != nullptr) break;  // another image's business
    const size_t before = out.size();
    if (checkBlob(blob, records, out, watch)) good = &blob;
    kept |= out.size() > before;
  }
  Check check{State::good, kLayer, subject.digest, layers_.pathOf(subject.digest), {}, {}, 0, namesOf(subject.records)};
  try {
    if (!layers_.find(subject.digest)) {
      check.state = State::missing;
      check.text = "it is not there";
    } else if (good == nullptr) {
      check.state = State::unknown;
      check.text = subject.records.empty() ? "no image names it; a zone may still use it"
                   : kept                  ? "its blob is damaged, so there is nothing to compare it with"
                                           : "its blob was not kept, so there is nothing to compare it with";
      if (!kept && !subject.records.empty() && subject.records[0].source == "registry")
        check.remedy =
            "with keep_blobs = true in [plugin.image-oci], rauha image pull " + toUtf8(subject.records[0].name) + " fetches it again";
    } else {
      compare(subject, *good, check, watch);
    }
  } catch (const Error& e) {
    note(check, e);
  }
  if (check.state != State::good && check.remedy.empty() && check.state != State::unknown) check.remedy = remedyFor(subject.records);
  out.push_back(std::move(check));
}

// A record is no content of its own: it must say what manifest and configuration say.
void StoreVerifier::checkRecord(const ImageRecord& record, std::vector<Check>& out) const {
  Check check{State::good, "record", {}, images_.pathOf(record.name), {}, {}, 0, {record.name}};
  try {
    const auto manifestText = blobs_.read(record.manifest), configText = blobs_.read(record.config);
    // Told as such already.
    if (!manifestText || !configText || sha256(*manifestText) != record.manifest || sha256(*configText) != record.config) return;
    const Manifest manifest = parseManifest(*manifestText, "manifest " + record.manifest);
    const Config config = parseConfig(*configText, "configuration " + record.config);
    bool same = manifest.config.digest == record.config && manifest.layers.size() == record.layers.size() &&
                config.diffIds.size() == record.layers.size();
    for (size_t i = 0; same && i < record.layers.size(); ++i)
      same = manifest.layers[i].digest == record.layers[i].digest && manifest.layers[i].size == record.layers[i].size &&
             config.diffIds[i] == record.layers[i].diffId;
    if (!same) throw Error("image", Code::corrupt, "it does not say what the image's manifest and configuration say");
  } catch (const Error& e) {
    note(check, e);
    if (check.remedy.empty()) check.remedy = remedyFor({record});
  }
  out.push_back(std::move(check));
}

std::vector<Check> StoreVerifier::run(const std::vector<ImageRecord>& records, const std::vector<ImageRecord>& every, bool all,
                                      const Watch& watch) const {
  std::vector<Subject> subjects = subjectsOf(records, every);
  if (all) addStrays(subjects);
  std::vector<std::vector<Check>> found(subjects.size());
  onThreads(
      subjects.size(), threads_, watch,
      [&](size_t i, const Watch& own) {
        const Subject& subject = subjects[i];
        if (subject.kind == kLayer)
          checkLayer(subject, found[i], own);
        else if (subject.kind == kBlob)
          checkBlob({{}, subject.digest, 0}, {}, found[i], own);
        else
          checkDocument(subject, found[i]);
      },
      [] {});
  std::vector<Check> out;
  for (const ImageRecord& record : records) checkRecord(record, out);
  for (auto& some : found)
    for (Check& check : some) out.push_back(std::move(check));
  return out;
}

}  // namespace rauha::oci
