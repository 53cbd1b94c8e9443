#include "core/changes/change_set_message.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/base/error.h"
#include "core/base/kj_error.h"
#include "core/base/utf8.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr const char* kManifest = "manifest";
constexpr std::string_view kSha256 = "sha256:";

capnp::Data::Reader data(const std::string& bytes) { return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()}; }

// A text, and its bytes when they are not UTF-8.
template <typename Text, typename Bytes>
void writeBytes(const std::string& bytes, Text setText, Bytes setBytes) {
  if (isUtf8(bytes)) {
    setText(bytes);
    return;
  }
  setText(toUtf8(bytes));
  setBytes(data(bytes));
}

std::string hex(const Digest& digest) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out(kSha256);
  for (const unsigned char byte : digest) out += {digits[byte >> 4], digits[byte & 15]};
  return out;
}

std::optional<Digest> fromHex(capnp::Text::Reader text) {
  Digest out{};
  if (text.size() != kSha256.size() + 2 * out.size()) return std::nullopt;
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10) & 15; };
  const char* at = text.begin() + kSha256.size();
  for (auto& byte : out) {
    byte = static_cast<unsigned char>(digit(at[0]) << 4 | digit(at[1]));
    at += 2;
  }
  return out;
}

void writeState(schema::FileState::Builder out, const FileState& s) {
  out.setType(static_cast<schema::FileType>(s.type));
  if (s.type == FileType::none) return;
  out.setSize(s.size);
  out.setMode(s.mode);
  out.setUid(s.uid);
  out.setGid(s.gid);
  out.setMtimeNs(s.mtimeNs);
  out.setCtimeNs(s.ctimeNs);
  out.setInode(s.inode);
  if (s.digest) out.setDigest(hex(*s.digest));
  if (!s.entries.empty()) out.setEntries(s.entries);
  if (s.type == FileType::symlink)
    writeBytes(
        s.target, [&](const std::string& t) { out.setTarget(t); }, [&](capnp::Data::Reader b) { out.setTargetBytes(b); });
  if (s.xattrs.empty()) return;
  auto list = out.initXattrs(static_cast<unsigned>(s.xattrs.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    auto attribute = list[i];
    writeBytes(
        s.xattrs[i].first, [&](const std::string& t) { attribute.setName(t); }, [&](capnp::Data::Reader b) { attribute.setNameBytes(b); });
    list[i].setValue(data(s.xattrs[i].second));
  }
}

void writeChange(schema::Change::Builder out, const Change& c) {
  writeBytes(
      c.path, [&](const std::string& t) { out.setPath(t); }, [&](capnp::Data::Reader b) { out.setPathBytes(b); });
  out.setKind(static_cast<schema::ChangeKind>(c.kind));
  const auto names = fieldNames(c.fields);
  auto fields = out.initFields(static_cast<unsigned>(names.size()));
  for (unsigned i = 0; i < fields.size(); ++i) fields.set(i, capnp::Text::Reader(names[i].data(), names[i].size()));
  writeState(out.initOld(), c.before);
  writeState(out.initNew(), c.after);
  if (c.kind == Kind::renamed)
    writeBytes(
        c.from, [&](const std::string& t) { out.setFrom(t); }, [&](capnp::Data::Reader b) { out.setFromBytes(b); });
  if (!c.noise.empty()) out.setNoise(std::string(c.noise));
  if (!c.reason.empty()) out.setProtected(std::string(c.reason));
  out.setBinary(c.binary);
  out.setHostChanged(c.hostChanged);
}

// The indexes of those that are written.
std::vector<size_t> chosen(const ChangeSet& set, size_t limit, uint64_t text) {
  std::vector<size_t> out;
  out.reserve(std::min(limit, set.changes.size()));
  const bool all = set.changes.size() <= limit;
  for (const bool noise : {false, true})
    for (size_t i = 0; i < set.changes.size() && out.size() < limit; ++i) {
      if (all ? noise : set.changes[i].noise.empty() == noise) continue;
      const uint64_t bytes = textBytes(set.changes[i]);
      if (bytes > text) return out;
      text -= bytes;
      out.push_back(i);
    }
  return out;
}

void writeBase(schema::BaseTree::Builder out, const BaseTree& base) {
  writeBytes(
      base.path, [&](const std::string& t) { out.setPath(t); }, [&](capnp::Data::Reader b) { out.setPathBytes(b); });
  out.setDevice(base.device);
  out.setInode(base.inode);
  out.setUid(base.uid);
  out.setGid(base.gid);
  out.setStartedNs(base.startedNs);
}

template <typename List>
void writeTexts(List list, const std::vector<std::string>& texts) {
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, toUtf8(texts[i]));
}

}  // namespace

void writeTotals(schema::ChangeTotals::Builder out, const Totals& totals) {
  out.setAdded(totals.added);
  out.setModified(totals.modified);
  out.setDeleted(totals.deleted);
  out.setTypeChanged(totals.typeChanged);
  out.setRenamed(totals.renamed);
  out.setAddedBytes(totals.addedBytes);
  out.setDeletedBytes(totals.deletedBytes);
  out.setProtected(totals.protectedCount);
  out.setNoise(totals.noise);
}

void writeChangeSet(schema::ChangeSet::Builder out, const ChangeSet& set, size_t limit, uint64_t text) {
  writeTotals(out.initTotals(), set.totals);
  const auto indexes = chosen(set, limit, text);
  auto changes = out.initChanges(static_cast<unsigned>(indexes.size()));
  for (unsigned i = 0; i < changes.size(); ++i) writeChange(changes[i], set.changes[indexes[i]]);
  out.setTruncated(set.truncated || indexes.size() < set.changes.size());
  auto noise = out.initNoise(static_cast<unsigned>(set.noise.size()));
  for (unsigned i = 0; i < noise.size(); ++i) {
    noise[i].setName(std::string(set.noise[i].name));
    noise[i].setChanges(set.noise[i].changes);
    noise[i].setBytes(set.noise[i].bytes);
  }
  out.setHostTree(static_cast<schema::HostTree>(set.hostTree));
  writeTexts(out.initHostChanges(static_cast<unsigned>(set.hostChanges.size())), set.hostChanges);
  if (!set.hostNote.empty()) out.setHostNote(set.hostNote);
  out.setKept(set.kept);
  if (!set.keptNote.empty()) out.setKeptNote(set.keptNote);
  writeBase(out.initBase(), set.base);
  if (!set.from.empty()) out.setFrom(set.from);
  writeTexts(out.initNotes(static_cast<unsigned>(set.notes.size())), set.notes);
}

uint64_t writeManifest(int directory, const ChangeSet& set) {
  capnp::MallocMessageBuilder message(1 << 16);
  writeChangeSet(message.initRoot<schema::ChangeSet>(), set, SIZE_MAX, UINT64_MAX);
  const UniqueFd fd(openat(directory, kManifest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throwErrno(kClass, "make the manifest of a change set");
  // The framing of capnp's streams, segment by segment: a flat copy of a large message would double it.
  const auto segments = message.getSegmentsForOutput();
  std::vector<uint32_t> table{static_cast<uint32_t>(segments.size() - 1)};
  for (const auto segment : segments) table.push_back(static_cast<uint32_t>(segment.size()));
  if (table.size() % 2 != 0) table.push_back(0);
  writeAll(fd.get(), {reinterpret_cast<const char*>(table.data()), table.size() * 4}, kManifest);
  for (const auto segment : segments)
    writeAll(fd.get(), {reinterpret_cast<const char*>(segment.begin()), segment.size() * sizeof(capnp::word)}, kManifest);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) throwErrno(kClass, "stat the manifest of a change set");
  return static_cast<uint64_t>(st.st_blocks) * 512;
}

struct Manifest::State {
  ~State() {
    reader = nullptr;
    if (address != MAP_FAILED) munmap(address, bytes);
  }
  void* address = MAP_FAILED;
  size_t bytes = 0;
  kj::Own<capnp::FlatArrayMessageReader> reader;
};

Manifest::Manifest(int directory) : state_(std::make_unique<State>()) {
  const UniqueFd fd(openat(directory, kManifest, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0) throwErrno(kClass, "open the manifest of a change set");
  state_->bytes = static_cast<size_t>(st.st_size);
  if (state_->bytes == 0 || state_->bytes % sizeof(capnp::word) != 0)
    throw Error(kClass, Code::corrupt, "the manifest of a change set is cut off", "delete the task: rauha task delete");
  state_->address = mmap(nullptr, state_->bytes, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (state_->address == MAP_FAILED) throwErrno(kClass, "map the manifest of a change set");
  try {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = UINT64_MAX;  // our own file, read again and again
    const auto* words = static_cast<const capnp::word*>(state_->address);
    state_->reader = kj::heap<capnp::FlatArrayMessageReader>(kj::arrayPtr(words, state_->bytes / sizeof(capnp::word)), options);
    (void)get().getTotals();
    // A list of structs without content costs no bytes, whatever its length says; ours have content.
    if (get().getChanges().size() > state_->bytes / sizeof(capnp::word))
      throw Error(kClass, Code::corrupt, "the manifest of a change set has more changes than bytes for them",
                  "delete the task: rauha task delete");
  } catch (const kj::Exception& e) {
    throw Error(kClass, Code::corrupt, std::string("the manifest of a change set is damaged: ") + e.getDescription().cStr(),
                "delete the task: rauha task delete");
  }
}

Manifest::~Manifest() = default;

schema::ChangeSet::Reader Manifest::get() const { return state_->reader->getRoot<schema::ChangeSet>(); }

KnownContents knownContents(const Manifest& manifest) {
  KnownContents out;
  for (const auto change : manifest.get().getChanges()) {
    const auto after = change.getNew();
    if (after.getType() != schema::FileType::REGULAR || !after.hasDigest()) continue;
    KnownContent known;
    known.size = after.getSize();
    known.mtimeNs = after.getMtimeNs();
    known.content.digest = fromHex(after.getDigest());
    known.content.binary = change.getBinary();
    known.entriesBefore = change.getOld().getEntries().cStr();
    const auto bytes = change.getPathBytes();
    const auto text = change.getPath();
    out.emplace(change.hasPathBytes() ? std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size())
                                      : std::string(text.begin(), text.size()),
                known);
  }
  return out;
}

}  // namespace rauha::changes
