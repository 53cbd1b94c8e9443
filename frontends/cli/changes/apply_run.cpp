#include "frontends/cli/changes/apply_run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <unordered_map>

#include "core/base/error.h"
#include "frontends/cli/changes/apply_lock.h"
#include "frontends/cli/changes/placing.h"
#include "frontends/cli/changes/staging.h"
#include "frontends/cli/changes/work_directory.h"

namespace rauha::cli {
namespace {

constexpr uint32_t kWithoutIdBits = 01777;

bool isNew(const Change& change) { return change.kind == ChangeKind::added || change.kind == ChangeKind::typeChanged; }

std::vector<Xattr> withoutCapability(std::vector<Xattr> all) {
  std::erase_if(all, [](const Xattr& x) { return x.name == "security.capability"; });
  return all;
}

class Runner final {
 public:
  Runner(const ChangeSet& set, const Tree& tree, ContentSource& source, const ApplyOptions& options, std::vector<Item>& items)
      : set_(set), tree_(tree), source_(source), options_(options), items_(items) {}

  ApplyReport run() {
    const ApplyLock lock(tree_);
    touch(std::string(), false);  // the work directory comes and goes there
    for (const auto& name : removeLeftovers(tree_.top()))
      report_.notes.push_back(name + " in the repository looks like an interrupted apply's, but is not all its own; it was left");
    work_.emplace(tree_.top());
    expectContents();
    for (size_t i = 0; i < items_.size(); ++i) indexes_[items_[i].change->path] = i;
    perform();
    work_.reset();
    finishDirectories();
    return std::move(report_);
  }

 private:
  using Step = void (Runner::*)(Item&);

  void perform() {
    if (options_.allOrNothing && !forAll(&Runner::stage)) return giveUp();
    // New names before old ones go, so that a renamed file is never nowhere; what takes a directory's place waits until that is empty.
    if (!forAll(&Runner::placeBeside)) return giveUp();
    if (!forAll(&Runner::removeFile)) return giveUp();
    if (!forAllReversed(&Runner::removeEmptied)) return giveUp();
    if (!forAll(&Runner::placeInstead)) return giveUp();
    if (!forAllReversed(&Runner::setDirectory)) return giveUp();
  }

  // False: stop, because of all or nothing.
  bool attempt(Item& item, Step step) {
    if (item.verdict != Verdict::apply) return true;
    try {
      (this->*step)(item);
      return true;
    } catch (const Error& error) {
      item.verdict = Verdict::failed;
      item.reason = error.text();
      return !options_.allOrNothing;
    }
  }
  bool forAll(Step step) {
    for (auto& item : items_)
      if (!attempt(item, step)) return false;
    return true;
  }
  bool forAllReversed(Step step) {
    for (auto item = items_.rbegin(); item != items_.rend(); ++item)
      if (!attempt(*item, step)) return false;
    return true;
  }

  void giveUp() {
    for (auto action = undo_.rbegin(); action != undo_.rend(); ++action) {
      try {
        (*action)();
      } catch (const Error& error) {
        report_.notes.push_back("could not be taken back: " + error.text());
      }
    }
    report_.undone = true;
    for (auto& item : items_)
      if (item.verdict == Verdict::apply) item.verdict = Verdict::undone;
  }
  void undoLater(std::function<void()> action) {
    if (options_.allOrNothing) undo_.push_back(std::move(action));
  }

  // --- making ready

  // Does it need an object of its own, or only other metadata on what is there?
  bool needsObject(const Item& item) const {
    const FileType type = item.change->after.type;
    if (type == FileType::none) return false;
    if (type == FileType::directory) return item.placeContent && isNew(*item.change);
    return item.placeContent || (type == FileType::regular && item.host.links > 1);
  }

  static bool hasHostsContent(const Item& item) {
    const Change& change = *item.change;
    return (change.kind == ChangeKind::renamed || (change.kind == ChangeKind::modified && !change.fields.content)) && !item.forced;
  }

  void expectContents() {
    std::vector<std::string> paths;
    for (const auto& item : items_) {
      const bool content = item.verdict == Verdict::apply && !item.onlyRemove && item.change->after.type == FileType::regular;
      if (content && needsObject(item) && !hasHostsContent(item)) paths.push_back(item.change->path);
    }
    source_.expect(std::move(paths));
  }

  void stage(Item& item) {
    if (item.onlyRemove || !needsObject(item) || staged_.count(&item) != 0) return;
    const std::string name = work_->next('s');
    try {
      makeObject(item, name);
    } catch (const Error&) {
      work_->drop(name);
      throw;
    }
    staged_[&item] = name;
  }

  void makeObject(Item& item, const std::string& name) {
    const Change& change = *item.change;
    switch (change.after.type) {
      case FileType::directory:
        return makeDirectory(item, name);
      case FileType::symlink:
        if (symlinkat(change.after.target.c_str(), work_->fd(), name.c_str()) != 0)
          throwErrno("repository", "make the link " + change.path);
        noteOwner(setLinkMetadata(work_->fd(), name, metadataOf(item), change.path), change.path);
        return;
      default:
        return makeFile(item, name);
    }
  }

  void makeDirectory(Item& item, const std::string& name) {
    const std::string& path = item.change->path;
    if (mkdirat(work_->fd(), name.c_str(), 0700) != 0) throwErrno("repository", "make the directory " + path);
    const UniqueFd fd = openAt(work_->fd(), name, O_RDONLY | O_DIRECTORY);
    if (!fd) throwErrno("repository", "open the new directory " + path);
    Metadata metadata = metadataOf(item);
    metadata.mode = *metadata.mode | kOwnerMayWrite;
    setMetadata(fd.get(), metadata, path);
  }

  void makeFile(Item& item, const std::string& name) {
    const Change& change = *item.change;
    const UniqueFd to(openat(work_->fd(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!to) throwErrno("repository", "make a file for " + change.path);
    const UniqueFd host = hostFile(item);
    const UniqueFd content = contentOf(item, host.get());
    copyContent(content.get(), to.get(), change.path);
    verify(change, to.get());
    if (host) copyHostAttributes(host.get(), to.get());
    Metadata metadata = metadataOf(item);
    if (!metadata.xattrs && host) metadata.xattrs = withoutCapability(xattrsOf(host.get(), change.path));
    noteOwner(setMetadata(to.get(), metadata, change.path), change.path);
    syncFile(to.get(), change.path);
  }

  // The host's file that this one replaces or comes from; none: there is no such file, or it may not be read.
  UniqueFd hostFile(const Item& item) const {
    int error = 0;
    if (item.host.state.type == FileType::regular) return tree_.openFile(item.change->path, error);
    if (item.change->kind == ChangeKind::renamed) return tree_.openFile(item.change->from, error);
    return {};
  }

  UniqueFd contentOf(const Item& item, int host) {
    if (hasHostsContent(item) && host >= 0) return duplicate(host);
    return source_.open(item.change->path);
  }

  static void verify(const Change& change, int fd) {
    struct stat st {};
    if (fstat(fd, &st) != 0) throwErrno("repository", "look at the new " + change.path);
    const bool right = static_cast<uint64_t>(st.st_size) == change.after.size &&
                       (change.after.digest.empty() || digestOf(fd, change.path) == change.after.digest);
    if (!right)
      throw Error("repository", Code::corrupt, "the new content of " + change.path + " is not what the task left: its digest differs",
                  "run the task again", change.path);
  }

  Metadata metadataOf(const Item& item) const {
    const Change& change = *item.change;
    const FileState& after = change.after;
    const FileState& old = change.kind == ChangeKind::renamed ? item.hostFrom : item.host.state;
    const bool fresh = isNew(change) || old.type != after.type;
    Metadata out;
    if (after.type != FileType::symlink && (fresh || change.fields.mode || item.placeContent))
      out.mode = fresh || change.fields.mode ? after.mode : old.mode;
    if (out.mode && after.type == FileType::regular && !options_.includeProtected) *out.mode &= kWithoutIdBits;
    setOwner(item, fresh, old, out);
    if (fresh || change.fields.xattrs) out.xattrs = options_.includeProtected ? after.xattrs : withoutCapability(after.xattrs);
    if (fresh || item.placeContent || change.fields.mtime)
      out.mtimeNs = after.mtimeNs;
    else if (item.host.links > 1 && after.type == FileType::regular)
      out.mtimeNs = old.mtimeNs;  // a copy takes its place
    return out;
  }

  void setOwner(const Item& item, bool fresh, const FileState& old, Metadata& out) const {
    out.ownerMayFail = true;
    if (options_.owner) {
      if (fresh || item.change->fields.owner || item.change->kind == ChangeKind::renamed)
        out.owner = {item.change->after.uid, item.change->after.gid};
      else if (item.placeContent)
        out.owner = {old.uid, old.gid};
      return;
    }
    if (!fresh) {
      if (item.placeContent || item.host.links > 1) out.owner = {old.uid, old.gid};
      return;
    }
    if (geteuid() == 0) out.owner = {set_.base.uid, set_.base.gid};
    int error = 0;
    const UniqueFd parent = tree_.directory(parentOf(item.change->path), error);
    struct stat st {};
    const bool inherits = parent && fstat(parent.get(), &st) == 0 && (st.st_mode & S_ISGID) != 0;
    if (inherits) out.owner = {out.owner ? out.owner->first : geteuid(), st.st_gid};
  }

  void noteOwner(bool set, const std::string& path) {
    if (!set && options_.owner) report_.notes.push_back("the owner of " + path + " could not be set: you are not root");
  }

  // --- into place

  static bool replacesDirectory(const Item& item) {
    return item.host.parentError == 0 && item.host.state.type == FileType::directory && item.change->after.type != FileType::directory;
  }
  void placeBeside(Item& item) {
    if (!replacesDirectory(item)) place(item);
  }
  void placeInstead(Item& item) {
    if (replacesDirectory(item)) place(item);
  }

  void place(Item& item) {
    if (item.onlyRemove) return;
    stage(item);
    const auto staged = staged_.find(&item);
    if (staged != staged_.end()) return putStaged(item, staged->second);
    const FileType type = item.change->after.type;
    if (type == FileType::regular) setInPlace(item);
    if (type == FileType::symlink) setLinkInPlace(item);
  }

  void putStaged(Item& item, const std::string& name) {
    const Place place = placeOf(tree_, item.change->path);
    const FileState put = stateAt(work_->fd(), name);
    const FileType host = item.host.parentError != 0 ? FileType::none : item.host.state.type;
    touch(parentOf(place.path), host == FileType::none);
    if (host == FileType::directory) {
      removeDirectory(place, item.host.state);
    } else if (host != FileType::none) {
      exchange(*work_, name, place, item.host.state, options_.allOrNothing);
      if (!options_.allOrNothing) return work_->drop(name);
      return undoLater([this, path = place.path, name, put] { exchange(*work_, name, placeOf(tree_, path), put, true); });
    }
    placeNew(*work_, name, place);
    undoLater([this, path = place.path, put] { removeUnchanged(path, put); });
  }

  // Undo of something new: into the work directory, or, a directory, away.
  void removeUnchanged(const std::string& path, const FileState& expected) {
    const Place place = placeOf(tree_, path);
    if (expected.type != FileType::directory) return takeAway(*work_, work_->next('u'), place, expected);
    if (unlinkat(place.parent.get(), place.name.c_str(), AT_REMOVEDIR) != 0) throwErrno("repository", "remove the directory " + path);
  }

  void setInPlace(Item& item) {
    const std::string& path = item.change->path;
    const Place place = placeOf(tree_, path);
    const UniqueFd fd = openAt(place.parent.get(), place.name, O_RDONLY);
    struct stat st {};
    if (!fd || fstat(fd.get(), &st) != 0) throwErrno("repository", "open " + path);
    if (st.st_ino != item.host.state.inode || !S_ISREG(st.st_mode) || st.st_nlink != 1)
      throw Error("repository", Code::conflict, path + " changed while the changes were applied", "look at it, then apply again", path);
    const FileState old = item.host.state;
    const auto oldXattrs = xattrsOf(fd.get(), path);
    noteOwner(setMetadata(fd.get(), metadataOf(item), path), path);
    undoLater([this, path, old, oldXattrs] {
      const Place again = placeOf(tree_, path);
      const UniqueFd file = openAt(again.parent.get(), again.name, O_RDONLY);
      if (file) setMetadata(file.get(), {old.mode, {{old.uid, old.gid}}, true, oldXattrs, old.mtimeNs}, path);
    });
  }

  void setLinkInPlace(Item& item) {
    const Place place = placeOf(tree_, item.change->path);
    if (!sameObject(stateAt(place.parent.get(), place.name), item.host.state))
      throw Error("repository", Code::conflict, place.path + " changed while the changes were applied", "look at it, then apply again",
                  place.path);
    noteOwner(setLinkMetadata(place.parent.get(), place.name, metadataOf(item), place.path), place.path);
    undoLater([this, path = place.path, old = item.host.state] {
      const Place again = placeOf(tree_, path);
      setLinkMetadata(again.parent.get(), again.name, {{}, {{old.uid, old.gid}}, true, {}, old.mtimeNs}, path);
    });
  }

  // --- removing

  void removeFile(Item& item) {
    const Change& change = *item.change;
    if (change.kind == ChangeKind::deleted && change.before.type != FileType::directory) return removePath(change.path, item.host.state);
    if (change.kind != ChangeKind::renamed || item.hostFrom.type == FileType::none) return;
    if (indexes_.count(change.from) == 0) removePath(change.from, item.hostFrom);
  }
  void removeEmptied(Item& item) {
    if (item.change->kind == ChangeKind::deleted && item.change->before.type == FileType::directory)
      removePath(item.change->path, item.host.state);
  }

  void removePath(const std::string& path, const FileState& expected) {
    const Place place = placeOf(tree_, path);
    touch(parentOf(path), true);
    if (expected.type == FileType::directory) return removeDirectory(place, expected);
    const std::string kept = work_->next('u');
    takeAway(*work_, kept, place, expected);
    if (!options_.allOrNothing) return work_->drop(kept);
    undoLater([this, path, kept] { placeNew(*work_, kept, placeOf(tree_, path)); });
  }

  void removeDirectory(const Place& place, const FileState& expected) {
    const UniqueFd fd = openAt(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
    const auto xattrs = fd ? xattrsOf(fd.get(), place.path) : std::vector<Xattr>();
    if (unlinkat(place.parent.get(), place.name.c_str(), AT_REMOVEDIR) != 0)
      throw osError("repository", "remove the directory " + place.path, errno, "something else is in it");
    undoLater([this, path = place.path, expected, xattrs] {
      const Place again = placeOf(tree_, path);
      if (mkdirat(again.parent.get(), again.name.c_str(), 0700) != 0) throwErrno("repository", "make the directory " + path);
      const UniqueFd made = openAt(again.parent.get(), again.name, O_RDONLY | O_DIRECTORY);
      if (made) setMetadata(made.get(), {expected.mode, {{expected.uid, expected.gid}}, true, xattrs, expected.mtimeNs}, path);
    });
  }

  // --- directories: last, because work in them changes their time, and their mode may forbid it

  void setDirectory(Item& item) {
    if (item.change->after.type != FileType::directory) return;
    const std::string& path = item.change->path;
    const Place place = placeOf(tree_, path);
    const UniqueFd fd = openAt(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
    if (!fd) throwErrno("repository", "open the directory " + path);
    const FileState old = item.host.state;
    const auto oldXattrs = xattrsOf(fd.get(), path);
    const Metadata metadata = metadataOf(item);
    noteOwner(setMetadata(fd.get(), metadata, path), path);
    fsync(fd.get());
    if (const auto at = touched_.find(path); at != touched_.end() && metadata.mtimeNs) at->second.settled = true;
    if (old.type != FileType::directory) return;
    undoLater([this, path, old, oldXattrs] {
      const Place again = placeOf(tree_, path);
      const UniqueFd directory = openAt(again.parent.get(), again.name, O_RDONLY | O_DIRECTORY);
      if (directory) setMetadata(directory.get(), {old.mode, {{old.uid, old.gid}}, true, oldXattrs, old.mtimeNs}, path);
    });
  }

  struct Touched {
    int64_t mtimeNs = 0;
    bool entries = false;  // something came or went there
    bool settled = false;  // got the task's time
  };

  void touch(const std::string& path, bool entries) {
    const auto [at, first] = touched_.try_emplace(path);
    if (first) {
      int error = 0;
      const UniqueFd fd = tree_.directory(path, error);
      if (fd) at->second.mtimeNs = stateAt(fd.get(), ".").mtimeNs;
    }
    at->second.entries |= entries;
  }

  // Did it have the time that the task left it with: from an apply before this one, or because the task did not change it?
  bool hasTasksTime(const std::string& path, int64_t mtimeNs) const {
    const auto at = indexes_.find(path);
    if (at == indexes_.end()) return false;
    const Item& item = items_[at->second];
    return (item.verdict == Verdict::already || item.verdict == Verdict::apply) && item.change->after.mtimeNs == mtimeNs;
  }

  // To disk; and a directory in which files were only replaced gets its time back, as if they had been written in place.
  void finishDirectories() {
    for (const auto& [path, touched] : touched_) {
      int error = 0;
      const UniqueFd at = tree_.directory(path, error);
      const UniqueFd fd(at ? openat(at.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1);
      if (!fd) continue;  // removed meanwhile, or not readable
      fsync(fd.get());
      const bool keeps = touched.settled || (touched.entries && !hasTasksTime(path, touched.mtimeNs));
      if (keeps && !report_.undone) continue;
      Metadata time;
      time.mtimeNs = touched.mtimeNs;
      try {
        setMetadata(fd.get(), time, path);
      } catch (const Error&) {
        // Somebody else's directory: its time stays.
      }
    }
  }

  const ChangeSet& set_;
  const Tree& tree_;
  ContentSource& source_;
  const ApplyOptions& options_;
  std::vector<Item>& items_;
  ApplyReport report_;
  std::optional<WorkDirectory> work_;
  std::unordered_map<std::string, size_t> indexes_;
  std::unordered_map<const Item*, std::string> staged_;
  std::map<std::string, Touched> touched_;
  std::vector<std::function<void()>> undo_;
};

}  // namespace

ApplyReport runApply(const ChangeSet& set, const Tree& tree, ContentSource& source, const ApplyOptions& options, std::vector<Item>& items) {
  return Runner(set, tree, source, options, items).run();
}

}  // namespace rauha::cli
