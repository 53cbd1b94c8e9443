#include "core/changes/collector.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>
#include <system_error>

#include "core/base/error.h"
#include "core/changes/change_set_message.h"
#include "core/changes/git_directories.h"
#include "core/changes/host_check.h"
#include "core/changes/merge.h"
#include "core/changes/tally.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";

UniqueFd reopen(int fd, const char* what) {
  UniqueFd out(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out) throwErrno(kClass, std::string("open ") + what);
  return out;
}

// The host's tree as overlayfs has it for its lower layer: one file system, without what is mounted inside the tree.
UniqueFd openBase(int fd, std::vector<std::string>& notes) {
  const UniqueFd mount(
      static_cast<int>(syscall(SYS_open_tree, fd, "", static_cast<unsigned>(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH))));
  if (mount) return reopen(mount.get(), "the repository");
  notes.emplace_back("what is mounted inside the repository was compared as if it were part of it");
  return reopen(fd, "the repository");
}

KnownContents knownOf(int predecessor) {
  if (predecessor < 0) return {};
  const UniqueFd set(openat(predecessor, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!set) throwErrno(kClass, "open the predecessor's change set");
  return knownContents(Manifest(set.get()));
}

BaseTree baseTree(const Input& input, int base) {
  struct stat st {};
  if (fstat(base, &st) != 0) throwErrno(kClass, "stat the repository");
  BaseTree out;
  out.path = input.basePath;
  out.device = st.st_dev;
  out.inode = st.st_ino;
  out.uid = input.ids.ownerUid;
  out.gid = input.ids.ownerGid;
  out.startedNs = input.startedNs;
  return out;
}

// The look at the host's tree, beside the collecting: on a large tree either takes some tenths of a second.
class HostLook final {
 public:
  HostLook(const Input& input, int base) : input_(input), base_(base) {}
  HostLook(const HostLook&) = delete;
  HostLook& operator=(const HostLook&) = delete;
  ~HostLook() { enough_ = true; }
  // For a task that wrote something.
  void begin() {
    try {
      found_ = std::async(std::launch::async, [this] { return check(true); });
    } catch (const std::system_error&) {
      // No thread to be had: finish() looks.
    }
  }
  HostCheck finish(bool changed) {
    if (!found_.valid()) return check(changed);
    enough_ = !changed;
    return found_.get();
  }

 private:
  HostCheck check(bool whole) const {
    const auto& l = input_.limits;
    const HostBudget all{l.hostEntries, l.hostNs, l.depth};
    const HostBudget some{std::min(l.hostEntries, l.hostEntriesUnchanged), std::min(l.hostNs, l.hostNsUnchanged), l.depth};
    return checkHost(base_, input_.startedNs, input_.ids.ownerUid, input_.ids.ownerGid, whole ? all : some, &enough_);
  }

  const Input& input_;
  const int base_;
  std::atomic<bool> enough_ = false;
  std::future<HostCheck> found_;  // last: its end waits for the thread
};

void tellOfHost(HostCheck check, ChangeSet& set) {
  set.hostTree = check.verdict;
  set.hostChanges = std::move(check.paths);
  set.hostNote = std::move(check.note);
  if (set.hostTree != HostTree::changed &&
      std::any_of(set.changes.begin(), set.changes.end(), [](const Change& c) { return c.hostChanged; }))
    set.hostTree = HostTree::changed;
}

std::string whyNotKept(const ChangeSet& set, const LayerWriter& writer, const Merge& merge, const Tally& tally, const Limits& limits) {
  if (!writer.gaveUp().empty()) return writer.gaveUp();
  if (tally.textExceeded()) return "paths and attributes of the changes have more than " + std::to_string(limits.textBytes) + " bytes";
  if (set.truncated) return "there are more than " + std::to_string(limits.changes) + " changes";
  if (merge.tooLong()) return "a path is longer than 4095 bytes";
  if (merge.tooDeep()) return "a directory is deeper than " + std::to_string(limits.depth) + " levels";
  return {};
}

void notKept(const Input& input, ChangeSet& set, std::string why) {
  set.kept = set.followable = false;
  set.keptNote = std::move(why);
  set.keptBytes = 0;
  removeTree(input.destination, "layer");
  removeTree(input.destination, "manifest");
}

}  // namespace

ChangeSet collect(const Input& input) {
  ChangeSet set;
  set.notes = input.notes;
  set.from = input.from;
  set.runUid = input.ids.runUid;
  set.runGid = input.ids.runGid;
  const UniqueFd base = openBase(input.base, set.notes), upper = reopen(input.upper, "the task's layer");
  const UniqueFd predecessor = input.predecessor >= 0 ? reopen(input.predecessor, "the predecessor's layer") : UniqueFd();
  set.base = baseTree(input, base.get());
  if (mkdirat(input.destination, "layer", 0755) != 0) throwErrno(kClass, "make the kept layer");

  LayerWriter writer(input.limits.layerBytes, input.limits.filesAlone);
  Tally tally(input.limits.changes, input.limits.textBytes, input.protectedPatterns, hookPathsOf(base.get()));
  Merge merge(input, base.get(), upper.get(), predecessor.get(), knownOf(predecessor.get()), writer, tally);
  HostLook host(input, base.get());
  if (predecessor || !names(upper.get()).empty()) host.begin();
  merge.run(openDirectory(input.destination, "layer"));
  tally.findRenames(base.get(), input.limits.renameBytes, input.limits.holeBytes);
  writer.finish();  // what is looked at next is in the kept layer
  if (writer.writing()) tally.protectRepositories(base.get(), openDirectory(input.destination, "layer").get());
  tally.finish(set);
  for (auto& note : merge.notes()) set.notes.push_back(std::move(note));
  tellOfHost(host.finish(set.totals.count() > 0), set);

  set.keptNote = whyNotKept(set, writer, merge, tally, input.limits);
  set.kept = set.keptNote.empty();
  if (!set.kept) {
    notKept(input, set, set.keptNote);
    return set;
  }
  set.followableNote = writer.weakness();
  set.followable = set.followableNote.empty();
  set.keptBytes = writer.diskBytes();
  try {
    set.keptBytes += writeManifest(input.destination, set);
  } catch (const Error& e) {
    if (e.code() != Code::limit) throw;
    notKept(input, set, e.text());
  }
  return set;
}

}  // namespace rauha::changes
