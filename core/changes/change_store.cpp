#include "core/changes/change_store.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <set>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/changes/tree.h"
#include "core/store/task_history.h"

namespace rauha::changes {
namespace {

constexpr std::string_view kClass = "repository";
constexpr std::string_view kNew = ".new-", kOld = ".old-";

Error noSet(std::string_view taskId) {
  return {kClass, Code::notFound, "the changes of task " + std::string(taskId) + " are not kept",
          "rauha task list shows which are; [changes] of rauha.toml says how long", std::string(taskId)};
}

UniqueFd openSet(int top, const std::string& name) {
  UniqueFd fd = openDirectory(top, name);
  if (!fd) throw noSet(name);
  return fd;
}

store::ChangeCounts counts(const Totals& t) {
  return {t.added, t.modified, t.deleted, t.typeChanged, t.renamed, t.addedBytes, t.deletedBytes, t.protectedCount, t.noise};
}

store::ChangeSetRow rowOf(const std::string& taskId, const ChangeSet& set) {
  store::ChangeSetRow row;
  row.taskId = taskId;
  row.fromTask = set.from;
  row.kept = set.kept;
  row.followable = set.followable;
  row.bytes = set.keptBytes;
  row.createdNs = realNs();
  row.basePath = set.base.path;
  row.baseDevice = set.base.device;
  row.baseInode = set.base.inode;
  row.baseUid = set.base.uid;
  row.baseGid = set.base.gid;
  row.baseStartedNs = set.base.startedNs;
  row.runUid = set.runUid;
  row.runGid = set.runGid;
  row.counts = counts(set.totals);
  return row;
}

// Kept sets by who owns them, for taking away.
class Sizes final {
 public:
  void add(const store::ChangeSetRow& row, bool stays) {
    total_ += row.bytes;
    auto& owner = owners_[row.ownerUid];
    owner.bytes += row.bytes;
    if (!stays) owner.oldest.push_back({added_++, row.bytes, row.taskId});
  }
  uint64_t total() const noexcept { return total_; }
  // Each: "" when there is nothing left that may go.
  std::string takeOldest() {
    return take([](const Owner& a, const Owner& b) { return a.oldest.front().order < b.oldest.front().order; });
  }
  std::string takeFair(uint32_t first) {
    if (const auto own = owners_.find(first); own != owners_.end() && !own->second.oldest.empty()) return takeOf(own->second);
    return take([](const Owner& a, const Owner& b) { return a.bytes > b.bytes; });
  }

 private:
  struct Set {
    size_t order;
    uint64_t bytes;
    std::string taskId;
  };
  struct Owner {
    uint64_t bytes = 0;
    std::deque<Set> oldest;
  };
  template <typename Before>
  std::string take(Before before) {
    Owner* found = nullptr;
    for (auto& [uid, owner] : owners_)
      if (!owner.oldest.empty() && (found == nullptr || before(owner, *found))) found = &owner;
    return found == nullptr ? std::string() : takeOf(*found);
  }
  std::string takeOf(Owner& owner) {
    Set set = std::move(owner.oldest.front());
    owner.oldest.pop_front();
    owner.bytes -= set.bytes;
    total_ -= set.bytes;
    return std::move(set.taskId);
  }

  std::map<uint32_t, Owner> owners_;
  uint64_t total_ = 0;
  size_t added_ = 0;
};

// A view of the layer for descriptors that leave the daemon: whoever gets one can neither run the file (a task may have made it
// set-user-ID root) nor open it for writing through /proc/self/fd.
UniqueFd sealed(int directory) {
  UniqueFd mount(
      static_cast<int>(syscall(SYS_open_tree, directory, "", static_cast<unsigned>(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH))));
  if (!mount) throwErrno(kClass, "copy the mount of a kept layer");
  struct mount_attr attributes {};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (syscall(SYS_mount_setattr, mount.get(), "", static_cast<unsigned>(AT_EMPTY_PATH), &attributes, sizeof attributes) != 0)
    throwErrno(kClass, "make the mount of a kept layer read-only");
  UniqueFd out(openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out) throwErrno(kClass, "open a kept layer");
  return out;
}

}  // namespace

// Outlives the ChangeStore as long as there are leases.
struct ChangeStore::State {
  struct Use {
    unsigned leases = 0, followUps = 0;
    std::string doomed;  // the name under which it waits for its last lease; empty: it does not
  };
  std::string path;
  UniqueFd top;
  std::map<std::string, Use> uses;
  uint64_t removals = 0;
  ChangeStore* owner = nullptr;  // null: it is gone, the next start removes what is doomed
};

class Lease final {
 public:
  Lease(std::shared_ptr<ChangeStore::State> state, std::string taskId, bool forFollowUp)
      : state_(std::move(state)), taskId_(std::move(taskId)), forFollowUp_(forFollowUp) {
    auto& use = state_->uses[taskId_];
    ++use.leases;
    use.followUps += forFollowUp_ ? 1 : 0;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    const auto at = state_->uses.find(taskId_);
    at->second.followUps -= forFollowUp_ ? 1 : 0;
    if (--at->second.leases > 0) return;
    const std::string doomed = std::move(at->second.doomed);
    state_->uses.erase(at);
    if (!doomed.empty() && state_->owner != nullptr) state_->owner->remove(doomed);
  }

 private:
  std::shared_ptr<ChangeStore::State> state_;
  std::string taskId_;
  bool forFollowUp_;
};

ChangeStore::ChangeStore(const std::string& stateDirectory, store::Store& store, WorkerPool& workers, Settings settings,
                         std::function<void(std::string)> problem)
    : store_(store),
      workers_(workers),
      settings_(std::move(settings)),
      problem_(std::move(problem)),
      state_(std::make_shared<State>()),
      removals_(*this) {
  state_->owner = this;
  state_->path = stateDirectory + "/changes";
  if (mkdir(state_->path.c_str(), 0700) != 0 && errno != EEXIST) throwErrno(kClass, "make " + state_->path);
  state_->top = UniqueFd(::open(state_->path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!state_->top) throwErrno(kClass, "open " + state_->path);
  // Layers hold what tasks made, with the owners and bits that they gave it: nobody else may get there.
  if (fchmod(state_->top.get(), 0700) != 0) throwErrno(kClass, "set the mode of " + state_->path);
}

ChangeStore::~ChangeStore() noexcept(false) { state_->owner = nullptr; }

void ChangeStore::prepare(Input& input) const {
  input.limits = settings_.limits;
  input.protectedPatterns = settings_.protectedPatterns;
}

Destination ChangeStore::begin(const std::string& taskId) {
  if (!isId("task", taskId)) throw Error(kClass, Code::internal, "no task id: " + taskId);
  const std::string name = std::string(kNew) + taskId;
  if (mkdirat(state_->top.get(), name.c_str(), 0700) != 0) throwErrno(kClass, "make " + state_->path + "/" + name);
  return {taskId, openSet(state_->top.get(), name)};
}

void ChangeStore::commit(Destination destination, const ChangeSet& set) {
  const std::string name = std::string(kNew) + destination.taskId;
  bool renamed = false;
  try {
    if (set.kept && renameat(state_->top.get(), name.c_str(), state_->top.get(), destination.taskId.c_str()) != 0)
      throwErrno(kClass, "name the change set of task " + destination.taskId);
    renamed = set.kept;
    store_.history().insertChangeSet(rowOf(destination.taskId, set));
  } catch (...) {
    remove(renamed ? destination.taskId : name);
    throw;
  }
  if (!set.kept) remove(name);
  // The result that the client is about to get says that this one is kept.
  for (const auto& id : expired(settings_.retention, {}, destination.taskId)) drop(id);
}

void ChangeStore::abort(Destination destination) noexcept {
  try {
    remove(std::string(kNew) + destination.taskId);
  } catch (const std::exception& e) {
    problem_(e.what());
  }
}

std::shared_ptr<Lease> ChangeStore::lease(const std::string& taskId, bool forFollowUp) {
  return std::make_shared<Lease>(state_, taskId, forFollowUp);
}

LayerInfo ChangeStore::openLayer(std::string_view taskId) {
  const auto row = store_.history().changeSet(taskId);
  if (!row || !row->kept) throw noSet(taskId);
  if (!row->followable)
    throw Error(kClass, Code::unsupported,
                "the layer of task " + row->taskId + " cannot be mounted: the state directory's file system does not hold all of it",
                "keep the state directory on ext4, xfs or btrfs; diff and apply work as they are", row->taskId);
  const UniqueFd set = openSet(state_->top.get(), row->taskId);
  LayerInfo out;
  out.layer = openSet(set.get(), "layer");
  out.base = {row->basePath, row->baseDevice, row->baseInode, row->baseUid, row->baseGid, row->baseStartedNs};
  out.runUid = row->runUid;
  out.runGid = row->runGid;
  out.lease = lease(row->taskId, true);
  return out;
}

ChangeStore::Opened ChangeStore::open(std::string_view taskId) {
  if (!isKept(taskId)) throw noSet(taskId);
  Opened out;
  out.directory = openSet(state_->top.get(), std::string(taskId));
  const UniqueFd layer = openSet(out.directory.get(), "layer");
  out.layer = sealed(layer.get());
  out.lease = lease(std::string(taskId), false);
  return out;
}

bool ChangeStore::isKept(std::string_view taskId) const {
  const auto row = store_.history().changeSet(taskId);
  return row && row->kept;
}

void ChangeStore::drop(std::string_view taskId) {
  store_.history().setChangeSetDropped(taskId);
  takeAway(std::string(taskId));
}

void ChangeStore::forget(std::string_view taskId) {
  store_.history().deleteChangeSet(taskId);
  takeAway(std::string(taskId));
}

// Out of sight at once, whoever still reads it.
void ChangeStore::takeAway(const std::string& taskId) {
  const std::string old = std::string(kOld) + std::to_string(++state_->removals) + "-" + taskId;
  if (renameat(state_->top.get(), taskId.c_str(), state_->top.get(), old.c_str()) != 0) {
    if (errno != ENOENT) problem_(osError(kClass, "remove " + state_->path + "/" + taskId, errno).text());
    return;
  }
  if (const auto use = state_->uses.find(taskId); use != state_->uses.end())
    use->second.doomed = old;
  else
    remove(old);
}

void ChangeStore::remove(std::string name) {
  // The worker may outlive us: it has a descriptor of its own.
  auto top = std::make_shared<UniqueFd>(duplicate(state_->top.get()));
  removals_.add(workers_.run([top, name = std::move(name)] { removeTree(top->get(), name); }));
}

std::vector<std::string> ChangeStore::expired(const Retention& retention, const std::function<bool(const std::string& taskId)>& among,
                                              const std::string& newest) const {
  auto rows = store_.history().changeSets();
  std::erase_if(rows, [&](const auto& row) { return !row.kept || (among && !among(row.taskId)); });
  const auto stays = [&](const store::ChangeSetRow& row) {
    const auto use = state_->uses.find(row.taskId);
    return row.taskId == newest || (use != state_->uses.end() && use->second.followUps > 0);
  };
  const int64_t now = realNs();
  std::vector<std::string> out;
  Sizes sizes;
  for (const auto& row : rows) {
    if (retention.keepNs > 0 && now - row.createdNs > retention.keepNs && !stays(row))
      out.push_back(row.taskId);
    else
      sizes.add(row, stays(row));
  }
  const auto latest = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.taskId == newest; });
  while (retention.keepBytes > 0 && sizes.total() > retention.keepBytes) {
    auto id = latest != rows.end() ? sizes.takeFair(latest->ownerUid) : sizes.takeOldest();
    if (id.empty()) break;
    out.push_back(std::move(id));
  }
  return out;
}

size_t ChangeStore::retain() {
  const auto ids = expired(settings_.retention);
  for (const auto& id : ids) drop(id);
  return ids.size();
}

Task<std::vector<std::string>> ChangeStore::reconcile() {
  std::vector<std::string> removed;
  store_.history().deleteOrphanedChangeSets();
  std::set<std::string> kept;
  for (const auto& row : store_.history().changeSets())
    if (row.kept) kept.insert(row.taskId);
  auto top = std::make_shared<UniqueFd>(duplicate(state_->top.get()));
  auto listing = workers_.run([top] { return names(top->get()); });
  const auto present = co_await kj::mv(listing);
  for (const auto& name : present) {
    if (kept.erase(name) > 0) continue;
    remove(name);
    removed.push_back(state_->path + "/" + name);
  }
  // Whose content somebody else removed.
  for (const auto& id : kept) store_.history().setChangeSetDropped(id);
  retain();
  co_return removed;
}

kj::Promise<void> ChangeStore::drain() { return removals_.onEmpty(); }

void ChangeStore::taskFailed(kj::Exception&& exception) {
  problem_("a change set is left in " + state_->path + ": " + fromKj(exception).text());
}

}  // namespace rauha::changes
