#include "core/changes/merge.h"

#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "core/base/acl.h"
#include "core/base/error.h"
#include "core/base/git_index.h"
#include "core/base/utf8.h"
#include "core/changes/content.h"
#include "core/changes/host_check.h"
#include "core/changes/noise.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr uint32_t kNobody = 65534;
constexpr size_t kMostPath = 4095;
constexpr uint64_t kNamedPaths = 10;
// Old content that is digested although only the new one has to be: whoever applies can tell a file that was rewritten as it was.
constexpr uint64_t kOldDigestBytes = 8ULL << 20;

bool holds(int directory, const char* attribute) { return fgetxattr(directory, attribute, nullptr, 0) >= 0 || errno != ENOTSUP; }

bool keepable(FileType type) {
  return type == FileType::regular || type == FileType::directory || type == FileType::symlink || type == FileType::fifo;
}

}  // namespace

Merge::Merge(const Input& input, int base, int upper, int predecessor, KnownContents known, LayerWriter& writer, Tally& tally)
    : input_(input),
      base_(base),
      upper_(upper),
      predecessor_(predecessor),
      known_(std::move(known)),
      writer_(writer),
      tally_(tally),
      holesLeft_(input.limits.allHoleBytes),
      userAttributes_(holds(upper, "user.rauha")),
      accessLists_(holds(upper, "system.posix_acl_access")) {}

void Merge::run(UniqueFd layer) {
  LayerDirectory top(writer_, std::move(layer));
  Frame frame{"", 1, base_, upper_, predecessor_, true, false, top};
  directory(frame);
}

std::vector<std::string> Merge::notes() const {
  std::vector<std::string> out;
  if (foreignOwners_ > 0)
    out.push_back("the owners of " + std::to_string(foreignOwners_) + " entries are outside of the zone's ids and read as nobody");
  if (acls_.count > 0)
    out.push_back("access control lists name somebody who has no id in the zone, and are left as the host has them: " + acls_.text());
  if (unheld_.count > 0)
    out.push_back("the zone's scratch holds no such attributes, and they are left as the host has them: " + unheld_.text());
  if (specials_ > 0) out.push_back(std::to_string(specials_) + " sockets and device nodes are listed, but not kept");
  return out;
}

void Merge::checkCancelled() {
  if ((++visited_ & 255) == 0 && input_.cancelled && input_.cancelled())
    throw Error(kClass, Code::cancelled, "collecting the changes was cancelled");
}

std::vector<std::string> Merge::entries(const Frame& frame) const {
  std::vector<std::string> out;
  for (const int fd : {frame.upper, frame.predecessor, frame.baseShows ? -1 : frame.base}) {
    if (fd < 0) continue;
    auto more = names(fd);
    if (out.empty()) {
      out = std::move(more);
      continue;
    }
    std::vector<std::string> both;
    both.reserve(out.size() + more.size());
    std::set_union(std::make_move_iterator(out.begin()), std::make_move_iterator(out.end()), std::make_move_iterator(more.begin()),
                   std::make_move_iterator(more.end()), std::back_inserter(both));
    out = std::move(both);
  }
  return out;
}

std::optional<Merge::LayerEntry> Merge::layerEntry(int directory, const std::string& name, const std::string& path, bool upper) {
  if (directory < 0) return std::nullopt;
  const auto st = lookup(directory, name);
  if (!st) return std::nullopt;
  LayerEntry out;
  out.st = *st;
  out.directory = directory;
  out.fromUpper = upper;
  out.attributes = readAttributes(directory, name, *st, upper ? input_.ids.base : 0);
  if (!out.attributes.notUnderstood.empty())
    throw Error(
        kClass, Code::unsupported,
        "the task's layer has " + toUtf8(out.attributes.notUnderstood) + " on " + toUtf8(path) + ", which this version does not understand",
        "mount it with redirect_dir=nofollow,metacopy=off", toUtf8(path));
  translateAcls(out);
  return out;
}

void Merge::translateAcls(LayerEntry& entry) {
  entry.kept = entry.shown = entry.attributes.visible;
  const auto& ids = input_.ids;
  const auto host = [](uint32_t id, uint32_t runId, uint32_t ownerId) { return id == runId ? ownerId : id; };
  const auto toZone = [&](uint32_t& id) {
    const auto zone = entry.fromUpper ? zoneId(id) : id;
    if (zone) id = *zone;
    return zone.has_value();
  };
  for (auto [key, value] : entry.attributes.acls) {
    if (!translateAcl(value, toZone, toZone)) {
      entry.foreignAcl = true;
      continue;
    }
    entry.kept.emplace_back(key, value);
    const auto hostUser = [&](uint32_t& id) { return id = host(id, ids.runUid, ids.ownerUid), true; };
    const auto hostGroup = [&](uint32_t& id) { return id = host(id, ids.runGid, ids.ownerGid), true; };
    translateAcl(value, hostUser, hostGroup);
    entry.shown.emplace_back(key, value);
  }
  std::sort(entry.kept.begin(), entry.kept.end());
  std::sort(entry.shown.begin(), entry.shown.end());
}

bool Merge::namesStrangers(const FileState& state) const {
  const auto owner = [&](uint32_t& id) { return id == input_.ids.ownerUid; };
  const auto group = [&](uint32_t& id) { return id == input_.ids.ownerGid; };
  return std::any_of(state.xattrs.begin(), state.xattrs.end(),
                     [&](auto attribute) { return isAcl(attribute.first) && !translateAcl(attribute.second, owner, group); });
}

// What the task could not see, or its layer cannot hold, is no change: applying it would shut somebody out, or strip the host's file.
void Merge::keepHostsAttributes(const LayerEntry& entry, Change& change) {
  const bool strangers = entry.foreignAcl || namesStrangers(change.before);
  const auto stays = [&](const auto& attribute) {
    if (isAcl(attribute.first)) return strangers || !accessLists_;
    return !userAttributes_ && attribute.first.starts_with("user.");
  };
  auto &before = change.before.xattrs, &after = change.after.xattrs;
  if (strangers) acls_.add(change.path);
  if (!strangers && std::any_of(before.begin(), before.end(), stays)) unheld_.add(change.path);
  std::erase_if(after, stays);
  std::copy_if(before.begin(), before.end(), std::back_inserter(after), stays);
  std::sort(after.begin(), after.end());
}

void Merge::Kept::add(const std::string& path) {
  if (count++ < kNamedPaths) paths += (paths.empty() ? "" : ", ") + toUtf8(path);
}

std::string Merge::Kept::text() const {
  return paths + (count > kNamedPaths ? " and " + std::to_string(count - kNamedPaths) + " more" : std::string());
}

bool Merge::tooLong(const std::string& path) {
  const bool out = path.size() > kMostPath;
  tooLong_ = tooLong_ || out;
  return out;
}

// How many bytes of holes of this file are digested.
uint64_t Merge::holeAllowance(const struct stat& st) {
  const auto size = static_cast<uint64_t>(st.st_size), data = static_cast<uint64_t>(st.st_blocks) * 512;
  const uint64_t holes = size > data ? size - data : 0;
  if (holes > input_.limits.holeBytes || holes > holesLeft_) return 0;
  holesLeft_ -= holes;
  return input_.limits.holeBytes;
}

void Merge::directory(Frame& frame) {
  for (const auto& name : entries(frame)) entry(frame, name);
}

void Merge::entry(Frame& frame, const std::string& name) {
  checkCancelled();
  const std::string path = frame.prefix + name;
  if (tooLong(path)) return;
  const auto base = frame.base >= 0 ? lookup(frame.base, name) : std::nullopt;
  const auto up = layerEntry(frame.upper, name, path, true), down = layerEntry(frame.predecessor, name, path, false);
  const auto& top = up ? up : down;
  if (!top || top->whiteout()) {
    // Named by the base alone: only looked at where the base's directory is hidden.
    const Moved moved = frame.moved ? Moved::yes : down && down->isDirectory() ? Moved::untold : Moved::no;
    if (base && (top || !frame.baseShows)) gone(frame, name, *base, moved);
  } else if (top->isDirectory()) {
    directoryEntry(frame, name, *top, up ? down : std::nullopt, base);
  } else {
    leaf(frame, name, *top, base);
  }
}

void Merge::directoryEntry(Frame& frame, const std::string& name, const LayerEntry& top, const std::optional<LayerEntry>& below,
                           const std::optional<struct stat>& base) {
  const std::string path = frame.prefix + name;
  Change change;
  change.path = path;
  change.after = layerState(top, name);
  if (base) change.before = baseState(frame.base, name, *base);
  keepHostsAttributes(top, change);
  const bool overDirectory = base && S_ISDIR(base->st_mode);
  change.kind = !base ? Kind::added : overDirectory ? Kind::modified : Kind::typeChanged;
  if (base) change.fields = static_cast<uint8_t>(differing(change.before, change.after) | (overDirectory ? 0 : kType));
  change.hostChanged = base && hostChanged(change.before, frame.moved);
  // Whatever changed in it on the host has its own time, unless it came with the directory. That the task wrote below the very directory
  // that is there now is known by the mark of the kernel; a predecessor's layer has no such marks.
  const bool mayHaveMoved = change.hostChanged && overDirectory && top.fromUpper && !below;

  const Keep keep = keepOf(top);
  LayerDirectory kept(writer_, frame.kept, name, keep);
  if (!base || change.fields != 0) {
    kept.need();
    tally_.add(std::move(change));
  }
  if (frame.depth >= input_.limits.depth) {
    tooDeep_ = true;
  } else {
    UniqueFd baseFd, upperFd, belowFd;
    if (overDirectory) baseFd = openDirectory(frame.base, name);
    (top.fromUpper ? upperFd : belowFd) = openDirectory(top.directory, name);
    // Below a directory of the upper layer shows what the predecessor's has there, unless something hides it.
    const bool opaque = top.attributes.opaque, belowIsDirectory = below && below->isDirectory();
    if (!opaque && belowIsDirectory) belowFd = openDirectory(below->directory, name);
    const bool shows = frame.baseShows && !opaque && (!below || (belowIsDirectory && !below->attributes.opaque));
    const bool moved = frame.moved || (mayHaveMoved && !isOrigin(top.attributes.origin, baseFd.get()));
    Frame inner{path + "/", frame.depth + 1, baseFd.get(), upperFd.get(), belowFd.get(), shows, moved, kept};
    directory(inner);
  }
  kept.finish();
}

void Merge::leaf(Frame& frame, const std::string& name, const LayerEntry& top, const std::optional<struct stat>& base) {
  const std::string path = frame.prefix + name;
  Change change;
  change.path = path;
  change.after = layerState(top, name);
  if (base) change.before = baseState(frame.base, name, *base);
  keepHostsAttributes(top, change);
  if (base) {
    change.hostChanged = hostChanged(change.before, frame.moved);
    change.kind = change.before.type == change.after.type ? Kind::modified : Kind::typeChanged;
    change.fields = differing(change.before, change.after);
    if (change.kind == Kind::typeChanged)
      change.fields |= kType;
    else if (change.after.type == FileType::symlink)
      change.fields = static_cast<uint8_t>(change.fields | (change.before.target != change.after.target ? kTarget : 0));
    else if (change.after.type == FileType::regular)
      compareContent(frame.base, name, *base, top, change);
    else if (base->st_rdev != top.st.st_rdev)
      change.fields |= kContent;
    if (change.fields == 0) return;  // copied up, but as it was
  } else {
    change.kind = Kind::added;
    // It was made from a file of the host's: from one that is there no more, or from another one that the task renamed.
    struct stat parent {};
    change.hostChanged = top.attributes.copiedUp && frame.base >= 0 && fstat(frame.base, &parent) == 0 &&
                         changedSince(nanoseconds(parent.st_ctim), input_.startedNs);
  }
  keepLeaf(frame, name, top, change);
  const bool hidesDirectory = base && S_ISDIR(base->st_mode);
  tally_.add(std::move(change));
  if (hidesDirectory) listDeletedIn(frame.base, name, path, *base, frame.depth, frame.moved ? Moved::yes : Moved::no);
}

void Merge::compareContent(int base, const std::string& name, const struct stat& st, const LayerEntry& top, Change& change) {
  const UniqueFd old = openRegular(base, name);
  if (!old) {
    change.fields |= kContent;
    return;
  }
  const bool index = noiseGroup(change.path) == kGitIndex;
  const UniqueFd now = index || change.before.size == change.after.size ? openRegular(top.directory, name) : UniqueFd();
  if (now && change.before.size == change.after.size && sameContent(old.get(), now.get(), change.after.size)) return;
  change.fields |= kContent;
  if (index && now) compareIndexes(old.get(), now.get(), change);
  if (change.before.size <= kOldDigestBytes) change.before.digest = readContent(old.get(), st, input_.limits.holeBytes).digest;
}

// What the host's one had staged when the task began: from the file that was held since, or from one that nobody has touched meanwhile.
void Merge::compareIndexes(int old, int now, Change& change) const {
  struct stat st {};
  const bool still = fstat(old, &st) == 0 && st.st_ino == change.before.inode && nanoseconds(st.st_ctim) == change.before.ctimeNs;
  const auto known = known_.find(change.path);
  if (!change.hostChanged && still)
    change.before.entries = gitIndexEntries(old);
  else if (input_.baseIndex >= 0 && change.path == kTopIndex)
    change.before.entries = gitIndexEntries(input_.baseIndex);
  else if (known != known_.end())
    change.before.entries = known->second.entriesBefore;
  if (!change.before.entries.empty()) change.after.entries = gitIndexEntries(now);
}

void Merge::keepLeaf(Frame& frame, const std::string& name, const LayerEntry& top, Change& change) {
  switch (change.after.type) {
    case FileType::regular:
      keepRegular(frame, name, top, change);
      break;
    case FileType::symlink:
      if (top.fromUpper || !writer_.link(frame.kept, name, top.directory, top.st))
        writer_.symlink(frame.kept, name, change.after.target, keepOf(top));
      break;
    case FileType::fifo:
      writer_.fifo(frame.kept, name, keepOf(top));
      break;
    default:
      break;
  }
  if (keepable(change.after.type)) return;
  ++specials_;
  // What it replaced is not to come back in a follow-up.
  if (change.before.type != FileType::none) writer_.whiteout(frame.kept, name);
}

void Merge::keepRegular(Frame& frame, const std::string& name, const LayerEntry& top, Change& change) {
  const UniqueFd from = openRegular(top.directory, name);
  if (!from) throw Error(kClass, Code::io, "the task's layer changed while it was read: " + toUtf8(change.path));
  const bool linked = !top.fromUpper && writer_.link(frame.kept, name, top.directory, top.st);
  Content content;
  if (const auto known = known_.find(change.path);
      linked && known != known_.end() && known->second.size == change.after.size && known->second.mtimeNs == change.after.mtimeNs) {
    content = known->second.content;
  } else if (linked) {
    content = readContent(from.get(), change.after.size, holeAllowance(top.st));
  } else {
    const auto before = writer_.digested(top.st);
    if (!before || writer_.writing())
      content = writer_.file(frame.kept, name, from.get(), top.st, keepOf(top), before ? 0 : holeAllowance(top.st));
    if (before) content = *before;
  }
  change.after.digest = content.digest;
  change.binary = content.binary;
  if (change.kind == Kind::modified && (change.fields & kContent) == 0) change.before.digest = content.digest;
}

void Merge::gone(Frame& frame, const std::string& name, const struct stat& base, Moved moved) {
  writer_.whiteout(frame.kept, name);
  listDeleted(frame.base, name, frame.prefix + name, base, frame.depth, moved);
}

bool Merge::hostChanged(const FileState& before, bool moved) const { return moved || changedSince(before.ctimeNs, input_.startedNs); }

void Merge::listDeleted(int directory, const std::string& name, const std::string& path, const struct stat& st, uint32_t depth,
                        Moved moved) {
  checkCancelled();
  if (tooLong(path)) return;
  Change change;
  change.path = path;
  change.kind = Kind::deleted;
  change.before = baseState(directory, name, st);
  change.hostChanged = hostChanged(change.before, moved == Moved::yes);
  if (S_ISREG(st.st_mode))
    if (const UniqueFd fd = openRegular(directory, name)) change.binary = isBinary(fd.get(), change.before.size);
  tally_.add(std::move(change));
  if (!S_ISDIR(st.st_mode)) return;
  if (depth >= input_.limits.depth) {
    tooDeep_ = true;
    return;
  }
  listDeletedIn(directory, name, path, st, depth, moved);
}

// A directory that came from elsewhere brings what is in it along, whose own times tell nothing: what the task deleted was another one.
void Merge::listDeletedIn(int directory, const std::string& name, const std::string& path, const struct stat& st, uint32_t depth,
                          Moved moved) {
  if (moved == Moved::no && changedSince(nanoseconds(st.st_ctim), input_.startedNs)) moved = Moved::yes;
  if (const UniqueFd inner = openDirectory(directory, name))
    for (const auto& child : names(inner.get()))
      if (const auto entry = lookup(inner.get(), child)) listDeleted(inner.get(), child, path + "/" + child, *entry, depth + 1, moved);
}

FileState Merge::baseState(int directory, const std::string& name, const struct stat& st) {
  FileState out = stateOf(st, st.st_uid, st.st_gid);
  out.inode = st.st_ino;
  out.ctimeNs = nanoseconds(st.st_ctim);
  if (out.type == FileType::symlink) out.target = readLink(directory, name);
  Attributes attributes = readAttributes(directory, name, st, 0);
  out.xattrs = std::move(attributes.visible);
  for (auto& acl : attributes.acls) out.xattrs.push_back(std::move(acl));
  std::sort(out.xattrs.begin(), out.xattrs.end());
  return out;
}

std::optional<uint32_t> Merge::zoneId(uint32_t raw) const noexcept {
  if (raw >= input_.ids.base && raw - input_.ids.base < input_.ids.count) return raw - input_.ids.base;
  return std::nullopt;
}

std::pair<uint32_t, uint32_t> Merge::zoneIds(const LayerEntry& entry) const {
  if (!entry.fromUpper) return {entry.st.st_uid, entry.st.st_gid};
  bool foreign = false;
  const auto zone = [&](uint32_t id) {
    const auto known = zoneId(id);
    foreign = foreign || !known;
    return known.value_or(kNobody);
  };
  const std::pair<uint32_t, uint32_t> out{zone(entry.st.st_uid), zone(entry.st.st_gid)};
  if (foreign) ++foreignOwners_;
  return out;
}

FileState Merge::layerState(const LayerEntry& entry, const std::string& name) {
  const auto [uid, gid] = zoneIds(entry);
  const auto& ids = input_.ids;
  FileState out = stateOf(entry.st, uid == ids.runUid ? ids.ownerUid : uid, gid == ids.runGid ? ids.ownerGid : gid);
  if (out.type == FileType::symlink) out.target = readLink(entry.directory, name);
  out.xattrs = entry.shown;
  return out;
}

Keep Merge::keepOf(const LayerEntry& entry) const {
  const auto [uid, gid] = zoneIds(entry);
  Keep out;
  out.mode = entry.st.st_mode;
  out.uid = uid;
  out.gid = gid;
  out.mtime = entry.st.st_mtim;
  out.xattrs = &entry.kept;
  return out;
}

}  // namespace rauha::changes
