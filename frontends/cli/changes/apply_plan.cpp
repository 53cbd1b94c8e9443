#include "frontends/cli/changes/apply_plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "core/base/cache_paths.h"
#include "core/base/error.h"
#include "core/base/git_index.h"
#include "core/base/protected_paths.h"

namespace rauha::cli {
namespace {

constexpr uint32_t kSetUser = 04000, kSetGroup = 02000, kOthersMayWrite = 02;

bool makesDirectory(const Change& change) {
  return change.after.type == FileType::directory && (change.kind == ChangeKind::added || change.kind == ChangeKind::typeChanged);
}
bool endsDirectory(const Change& change) {
  return change.before.type == FileType::directory && (change.kind == ChangeKind::deleted || change.kind == ChangeKind::typeChanged);
}

bool hasCapability(const FileState& state) {
  return std::any_of(state.xattrs.begin(), state.xattrs.end(), [](const Xattr& x) { return x.name == "security.capability"; });
}

const char* typeName(FileType type) {
  switch (type) {
    case FileType::none:
      return "nothing";
    case FileType::regular:
      return "a file";
    case FileType::directory:
      return "a directory";
    case FileType::symlink:
      return "a symbolic link";
    case FileType::special:
      break;
  }
  return "a special file";
}

bool isByChoice(Verdict verdict) { return verdict == Verdict::protection || verdict == Verdict::cache || verdict == Verdict::skipped; }

std::string parentReason(int error) {
  switch (error) {
    case ENOENT:
      return "its directory is not there";
    case ELOOP:
    case ENOTDIR:
      return "its directory is not one, or a symbolic link leads there";
    case EXDEV:
      return "its directory is on another file system";
    default:
      return std::string("its directory cannot be reached: ") + strerror(error);
  }
}

class Planner final {
 public:
  Planner(const ChangeSet& set, const Tree& tree, const ApplyOptions& options) : set_(set), tree_(tree), options_(options) {}

  std::vector<Item> plan() {
    select();
    for (size_t i = 0; i < items_.size(); ++i) {
      places_[items_[i].change->path] = i;
      if (!items_[i].change->from.empty()) sources_[items_[i].change->from] = i;
    }
    for (auto& item : items_) decide(item);
    // A directory goes when everything in it does: from below.
    for (size_t i = items_.size(); i-- > 0;)
      if (endsDirectory(*items_[i].change) && items_[i].verdict == Verdict::apply) decideEmptying(items_[i]);
    // What stands below something that will not be there.
    for (auto& item : items_) dependOnParent(item);
    return std::move(items_);
  }

 private:
  void select() {
    std::unordered_set<std::string> chosen;
    for (const Change* change : selectChanges(set_, options_.paths)) chosen.insert(change->path);
    if (!options_.paths.empty()) addParents(chosen);
    for (const auto& change : set_.changes) {
      if (chosen.count(change.path) == 0) continue;
      Item item;
      item.change = &change;
      items_.push_back(std::move(item));
    }
    std::stable_sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) { return a.change->path < b.change->path; });
  }

  // A chosen file needs the new directories that it stands in.
  void addParents(std::unordered_set<std::string>& chosen) const {
    std::unordered_set<std::string> made;
    for (const auto& change : set_.changes)
      if (makesDirectory(change)) made.insert(change.path);
    const std::vector<std::string> first(chosen.begin(), chosen.end());
    for (const auto& path : first)
      for (std::string parent = parentOf(path); !parent.empty(); parent = parentOf(parent))
        if (made.count(parent) != 0) chosen.insert(parent);
  }

  static void end(Item& item, Verdict verdict, std::string reason) {
    item.verdict = verdict;
    item.reason = std::move(reason);
  }
  void conflict(Item& item, std::string reason, bool forceable) const {
    if (forceable && options_.force) {
      item.forced = true;
      item.reason = std::move(reason);
      return;
    }
    end(item, Verdict::conflict, std::move(reason));
    item.forceable = forceable;
  }

  void decide(Item& item) {
    const Change& change = *item.change;
    item.protection = protectionOf(change);
    if (!isTreePath(change.path) || (!change.from.empty() && !isTreePath(change.from)))
      return end(item, Verdict::conflict, "its path leads out of the tree");
    // No conflict: a task could refuse every apply with it.
    if (change.path.rfind(kWorkPrefix, 0) == 0)
      return end(item, Verdict::skipped, std::string("names that begin with ") + kWorkPrefix + " are apply's own");
    if (change.after.type == FileType::special)
      return end(item, Verdict::skipped, "devices, sockets and named pipes are never carried over");
    if (!item.protection.empty() && !options_.includeProtected) return end(item, Verdict::protection, item.protection);
    if (isLeftOutCache(change)) return decideCache(item);
    item.host = tree_.look(change.path);
    const bool parentIsNew = item.host.parentError != 0 && willBeDirectory(parentOf(change.path));
    if (item.host.parentError != 0 && !parentIsNew) {
      const bool gone = item.host.parentError == ENOENT || item.host.parentError == ENOTDIR;
      if (change.kind == ChangeKind::deleted && gone) return end(item, Verdict::already, {});
      if (leftOut(parentOf(change.path))) return end(item, Verdict::skipped, "its directory is not applied");
      return conflict(item, parentReason(item.host.parentError), waitsForForce(parentOf(change.path)));
    }
    compare(item);
    changedMeanwhile(item);
    if (item.verdict == Verdict::conflict) settleIndex(item);
    if (item.verdict == Verdict::conflict && isRefreshedIndex(change))
      end(item, Verdict::skipped, "only refreshed by the task, and the host's changed as well");
  }

  // Whose index was only refreshed, by a `git status` or an editor, has staged nothing that the task's does not know.
  void settleIndex(Item& item) const {
    const Change& change = *item.change;
    if (change.kind != ChangeKind::modified || change.fields.mode || change.before.entries.empty()) return;
    int error = 0;
    const UniqueFd fd = tree_.openFile(change.path, error);
    const std::string staged = fd ? gitIndexEntries(fd.get()) : std::string();
    if (staged.empty()) return;
    if (staged == change.after.entries) return end(item, Verdict::already, {});
    if (staged != change.before.entries) return;
    end(item, Verdict::apply, {});
    item.forceable = false;
  }

  // git writes its index at every look. Where nothing else of the repository changed, nothing of the task's is in it.
  bool isRefreshedIndex(const Change& change) const {
    if (change.kind != ChangeKind::modified || change.noise.empty() || nameOf(change.path) != "index") return false;
    const std::string git = parentOf(change.path);
    return std::none_of(set_.changes.begin(), set_.changes.end(), [&](const Change& other) {
      const bool onlyTime = other.kind == ChangeKind::modified && other.fields.metadataOnly() && !other.fields.mode;
      return other.path != change.path && isAtOrBelow(other.path, git) && !onlyTime;
    });
  }

  // What the task saw of a host's file that changed while it ran, nobody knows: what it left may undo that change.
  void changedMeanwhile(Item& item) const {
    const Change& change = *item.change;
    const bool isDirectory = change.before.type == FileType::directory || change.after.type == FileType::directory;
    if (!change.hostChanged || isDirectory || item.verdict != Verdict::apply || item.forced) return;
    const Fields& fields = change.fields;
    const bool metadata = change.kind == ChangeKind::modified && fields.metadataOnly();
    if (metadata && !fields.mode && !fields.owner && !fields.xattrs)
      return end(item, Verdict::skipped, "only its time differs, and " + hostChangedText(set_));
    if (item.placeContent || metadata || change.kind == ChangeKind::deleted) conflict(item, hostChangedText(set_), true);
  }

  bool isLeftOutCache(const Change& change) const {
    if (change.after.type == FileType::none || options_.includeProtected || cacheGroup(change.path).empty()) return false;
    // A named path makes the directories that it stands in, too.
    return std::none_of(options_.paths.begin(), options_.paths.end(), [&](const std::string& path) {
      return !cacheGroup(path).empty() && (isAtOrBelow(change.path, path) || isAtOrBelow(path, change.path));
    });
  }

  // A directory that was moved leaves its caches behind, and could not go otherwise.
  void decideCache(Item& item) {
    const Change& change = *item.change;
    const bool moved = change.kind == ChangeKind::renamed && !cacheGroup(change.from).empty();
    const Found source = moved ? tree_.look(change.from) : Found{};
    const bool goes = moved && source.parentError == 0 && source.state.type == change.before.type &&
                      sameContent(change.from, source.state, change.before);
    if (!goes) return end(item, Verdict::cache, std::string(cacheGroup(change.path)));
    item.hostFrom = source.state;
    item.onlyRemove = true;
    item.reason = "only its old place goes: the new one is in a cache";
  }

  bool willBeDirectory(const std::string& path) const {
    const auto at = places_.find(path);
    if (at == places_.end()) return false;
    const Item& item = items_[at->second];
    return makesDirectory(*item.change) && item.verdict == Verdict::apply;
  }

  // A new directory whose place something of the host's has, which --force replaces: what stands in the directory follows it.
  bool waitsForForce(const std::string& path) const {
    const Item* item = itemAt(path);
    return item != nullptr && makesDirectory(*item->change) && item->verdict == Verdict::conflict && item->forceable;
  }

  // A new directory that is not made, by choice.
  bool leftOut(const std::string& path) const {
    const Item* item = itemAt(path);
    return item != nullptr && makesDirectory(*item->change) && isByChoice(item->verdict);
  }

  void compare(Item& item) {
    switch (item.change->kind) {
      case ChangeKind::added:
        return compareAdded(item);
      case ChangeKind::modified:
        return compareModified(item);
      case ChangeKind::typeChanged:
        return compareTypeChanged(item);
      case ChangeKind::deleted:
        return compareDeleted(item);
      case ChangeKind::renamed:
        return compareRenamed(item);
    }
  }

  void compareAdded(Item& item) const {
    const FileState& host = item.host.state;
    if (host.type == FileType::none) return;
    if (item.change->after.type == FileType::directory && host.type == FileType::directory) {
      // Made by an apply before this one, which may not have come to its end; else two trees meet there, and the host's keeps its mode.
      const bool ours = (host.mode | kOwnerMayWrite) == (item.change->after.mode | kOwnerMayWrite);
      return ours ? onlyMetadata(item) : end(item, Verdict::already, {});
    }
    if (sameContent(item.change->path, host, item.change->after)) return onlyMetadata(item);
    conflict(item, std::string("the task made it, and the host has ") + typeName(host.type) + " there", host.type != FileType::directory);
  }

  void compareModified(Item& item) const {
    const Change& change = *item.change;
    const FileState& host = item.host.state;
    if (host.type == FileType::none) return conflict(item, "it is no longer there", change.after.type != FileType::directory);
    if (host.type != change.after.type)
      return conflict(item, std::string("it is ") + typeName(host.type) + " now",
                      host.type != FileType::directory && change.after.type != FileType::directory);
    if (change.after.type == FileType::directory) return onlyMetadata(item);
    const bool before = sameContent(change.path, host, change.before);
    if (change.fields.metadataOnly()) {
      if (!before) return conflict(item, "the host's file changed since the task began", true);
      return onlyMetadata(item);
    }
    if (!before && sameContent(change.path, host, change.after)) return onlyMetadata(item);
    if (!before) return conflict(item, "the host's file changed since the task began", true);
    checkMode(item);
  }

  // The content is there or not meant; mode, owner, attributes, times may be left to do.
  void onlyMetadata(Item& item) const {
    item.placeContent = false;
    const Change& change = *item.change;
    const FileState &host = item.host.state, &after = change.after;
    const bool isNew = change.kind == ChangeKind::added || change.kind == ChangeKind::renamed;
    const bool mode = after.type != FileType::symlink && (change.fields.mode || isNew) && host.mode != after.mode;
    const bool owner = options_.owner && (change.fields.owner || isNew) && (host.uid != after.uid || host.gid != after.gid);
    const bool timed = change.fields.mtime || (isNew && after.type == FileType::directory);
    const bool times = timed && host.mtimeNs != after.mtimeNs;
    const bool xattrs = change.fields.xattrs && !sameXattrs(change.path, after);
    if (!mode && !owner && !times && !xattrs) return end(item, Verdict::already, {});
    checkMode(item);
  }

  void checkMode(Item& item) const {
    const Change& change = *item.change;
    const uint32_t mode = item.host.state.mode;
    if (change.kind == ChangeKind::modified && change.fields.mode && mode != change.before.mode && mode != change.after.mode)
      conflict(item, "the host's file has another mode since the task began", true);
  }

  bool sameXattrs(const std::string& path, const FileState& after) const {
    int error = 0;
    const UniqueFd parent = tree_.directory(parentOf(path), error);
    const UniqueFd fd = parent ? openAt(parent.get(), nameOf(path), O_RDONLY) : UniqueFd();
    return fd && xattrsOf(fd.get(), path) == after.xattrs;
  }

  void compareTypeChanged(Item& item) const {
    const Change& change = *item.change;
    const FileState& host = item.host.state;
    if (host.type == change.after.type && sameContent(change.path, host, change.after)) return onlyMetadata(item);
    if (host.type == FileType::none) return conflict(item, "it is no longer there", true);
    if (host.type == change.before.type && sameContent(change.path, host, change.before)) return;
    conflict(item, std::string("the host has ") + typeName(host.type) + " there, and not the one that the task saw",
             host.type != FileType::directory);
  }

  void compareDeleted(Item& item) const {
    const Change& change = *item.change;
    const FileState& host = item.host.state;
    if (host.type == FileType::none) return end(item, Verdict::already, {});
    if (host.type != change.before.type)
      return conflict(item, std::string("the task deleted ") + typeName(change.before.type) + ", and it is " + typeName(host.type) + " now",
                      false);
    if (!sameContent(change.path, host, change.before)) conflict(item, "the host's file changed since the task began", true);
  }

  void compareRenamed(Item& item) const {
    const Change& change = *item.change;
    const Found source = tree_.look(change.from);
    item.hostFrom = source.state;
    const FileState& host = item.host.state;
    const bool there = host.type != FileType::none && sameContent(change.path, host, change.after);
    const bool sourceGone = source.parentError != 0 || source.state.type == FileType::none;
    if (there && sourceGone) return onlyMetadata(item);
    if (!sourceGone && !(source.state.type == change.before.type && sameContent(change.from, source.state, change.before)))
      return conflict(item, "the host's " + change.from + ", which the task renamed, changed since the task began", false);
    if (host.type == FileType::none) {
      if (sourceGone) conflict(item, "the host's " + change.from + ", which the task renamed, is no longer there", true);
      return;
    }
    if (!there)
      return conflict(item, std::string("the task renamed a file to it, and the host has ") + typeName(host.type) + " there",
                      host.type != FileType::directory);
    item.placeContent = false;
  }

  // Is the host's object of this state, as far as type and content go?
  bool sameContent(const std::string& path, const FileState& host, const FileState& state) const {
    if (host.type != state.type) return false;
    switch (host.type) {
      case FileType::symlink:
        return host.target == state.target;
      case FileType::directory:
        return true;
      case FileType::regular:
        return sameBytes(path, host, state);
      default:
        return host.inode == state.inode;
    }
  }
  bool sameBytes(const std::string& path, const FileState& host, const FileState& state) const {
    if (host.size != state.size) return false;
    if (state.inode != 0 && host.inode == state.inode && host.ctimeNs == state.ctimeNs) return true;
    if (state.digest.empty()) return host.mtimeNs == state.mtimeNs;
    int error = 0;
    const UniqueFd fd = tree_.openFile(path, error);
    return fd && digestOf(fd.get(), path) == state.digest;
  }

  void decideEmptying(Item& item) const {
    int error = 0;
    const UniqueFd at = tree_.directory(item.change->path, error);
    if (!at) return;  // a symbolic link by now; its removal will say so
    const int fd = openat(at.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return conflict(item, std::string("it cannot be looked into: ") + strerror(errno), false);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(fd), closedir);
    while (const dirent* entry = entries ? readdir(entries.get()) : nullptr) {
      const std::string name = entry->d_name;
      if (name == "." || name == ".." || leaves(item.change->path + "/" + name)) continue;
      const bool kept = staysByChoice(item.change->path + "/" + name);
      if (kept) return end(item, Verdict::skipped, "it is not empty without " + name);
      return conflict(item, "it is not empty: the host has " + name + " in it", false);
    }
  }
  const Item* itemAt(const std::string& path) const {
    const auto at = places_.find(path);
    return at == places_.end() ? nullptr : &items_[at->second];
  }
  bool leaves(const std::string& path) const {
    const Item* item = itemAt(path);
    if (item != nullptr && item->change->kind == ChangeKind::deleted)
      return item->verdict == Verdict::apply || item->verdict == Verdict::already;
    const auto renamed = sources_.find(path);
    return renamed != sources_.end() && items_[renamed->second].verdict == Verdict::apply;
  }
  bool staysByChoice(const std::string& path) const {
    const Item* item = itemAt(path);
    return item != nullptr && isByChoice(item->verdict);
  }

  void dependOnParent(Item& item) const {
    if (item.verdict != Verdict::apply || item.onlyRemove || item.host.parentError == 0) return;
    if (willBeDirectory(parentOf(item.change->path))) return;
    end(item, Verdict::skipped, "its directory is not applied");
  }

  const ChangeSet& set_;
  const Tree& tree_;
  const ApplyOptions& options_;
  std::vector<Item> items_;
  std::unordered_map<std::string, size_t> places_, sources_;  // by path, by where a renamed file was
};

}  // namespace

std::vector<Item> planApply(const ChangeSet& set, const Tree& tree, const ApplyOptions& options) {
  return Planner(set, tree, options).plan();
}

std::string hostChangedText(const ChangeSet& set) {
  return std::string("the host's file changed ") + (set.from.empty() ? "while the task ran" : "since the task that it goes on from began");
}

std::string protectionOf(const Change& change) {
  if (!change.protection.empty()) return change.protection;
  const Fields& fields = change.fields;
  const bool onlyTime = change.kind == ChangeKind::modified && fields.metadataOnly() && !fields.mode && !fields.owner && !fields.xattrs;
  if (onlyTime) return {};
  if (const auto reason = protectedReason(change.path); !reason.empty()) return std::string(reason);
  if (!change.from.empty())
    if (const auto reason = protectedReason(change.from); !reason.empty()) return std::string(reason);
  const FileState &before = change.before, &after = change.after;
  const bool leads = change.kind != ChangeKind::modified || fields.target;
  const bool link = leads && after.type == FileType::symlink;
  if (link && linkLeavesTree(change.path, after.target)) return std::string(kLinkOut);
  if (link || change.kind == ChangeKind::typeChanged)
    if (const auto reason = ancestorReason(change.path); !reason.empty()) return std::string(reason);
  const bool newMode = change.kind != ChangeKind::modified || (fields.mode && (before.mode & kOthersMayWrite) == 0);
  const bool hasMode = after.type == FileType::regular || after.type == FileType::directory;
  if (hasMode && newMode && (after.mode & kOthersMayWrite) != 0) return std::string(kWorldWritable);
  if (after.type != FileType::regular) return {};
  const bool touched = change.fields.content || change.fields.mode || before.type != FileType::regular;
  if (touched && (after.mode & kSetUser) != 0) return "set-user-ID";
  if (touched && (after.mode & kSetGroup) != 0) return "set-group-ID";
  if (hasCapability(after)) return "file capabilities";
  return {};
}

std::vector<const Change*> selectChanges(const ChangeSet& set, const std::vector<std::string>& paths) {
  std::vector<const Change*> out;
  std::vector<char> used(paths.size());
  for (const auto& change : set.changes) {
    bool chosen = paths.empty();
    for (size_t i = 0; i < paths.size(); ++i) {
      if (!isAtOrBelow(change.path, paths[i]) && (change.from.empty() || !isAtOrBelow(change.from, paths[i]))) continue;
      chosen = true;
      used[i] = 1;
    }
    if (chosen) out.push_back(&change);
  }
  for (size_t i = 0; i < paths.size(); ++i)
    if (used[i] == 0 && !paths[i].empty())
      throw Error("usage", Code::notFound, "the task changed nothing at '" + paths[i] + "'",
                  "paths are relative to the repository's top; `rauha diff TASK --stat` lists what changed", paths[i]);
  return out;
}

std::string treePath(const std::string& path, const std::string& top) {
  std::string rest = path;
  if (!rest.empty() && rest.front() == '/') {
    if (!isAtOrBelow(rest, top))
      throw Error("usage", Code::invalid, "'" + path + "' is not below the repository " + top, "write it relative to the repository's top",
                  path);
    rest.erase(0, top.size());
  }
  std::string out;
  for (size_t at = 0; at < rest.size();) {
    const size_t slash = std::min(rest.find('/', at), rest.size());
    const std::string name = rest.substr(at, slash - at);
    at = slash + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..")
      throw Error("usage", Code::invalid, "'" + path + "' has a '..' in it", "write it relative to the repository's top, without '..'",
                  path);
    out += (out.empty() ? "" : "/") + name;
  }
  return out;
}

}  // namespace rauha::cli
