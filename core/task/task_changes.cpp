#include "core/task/task_changes.h"

#include <atomic>
#include <memory>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/schema_error.h"
#include "core/changes/change_set_message.h"
#include "core/changes/host_check.h"
#include "core/changes/tree.h"
#include "core/image/rootfs_plan.h"

namespace rauha {
namespace {

constexpr std::string_view kClass = "repository";

[[noreturn]] void noSuchTask(const std::string& id) {
  throw Error(kClass, Code::notFound, "there is no task " + id + " to go on from", "`rauha task list` shows the tasks that there are", id);
}

// Empty: there is none, or it changed since, so that nobody knows what it was then.
UniqueFd indexOf(int repository, int64_t startedNs) {
  UniqueFd fd = changes::openRegularBeneath(repository, changes::kTopIndex);
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || changes::changedSince(changes::nanoseconds(st.st_ctim), startedNs)) return {};
  return fd;
}

}  // namespace

TaskChanges::TaskChanges(const ChangeServices& services, std::string taskId, Repository repository, std::string from, const rpc::Peer& peer)
    : services_(services),
      taskId_(std::move(taskId)),
      repoPath_(std::move(repository.path)),
      from_(std::move(from)),
      repo_(duplicate(repository.fd)),
      startedNs_(realNs()) {
  const struct stat& st = repository.status;
  if (!S_ISDIR(st.st_mode)) throw Error(kClass, Code::invalid, repoPath_ + " is not a directory", "name a directory", repoPath_);
  device_ = st.st_dev;
  inode_ = st.st_ino;
  // Root runs tasks on other people's trees: the tree's owner is who the task should be.
  ownerUid_ = peer.uid == 0 ? st.st_uid : peer.uid;
  ownerGid_ = peer.uid == 0 ? st.st_gid : peer.gid;
  if (!from_.empty()) openPredecessor(peer);
}

void TaskChanges::openPredecessor(const rpc::Peer& peer) {
  const auto row = services_.records.task(from_);
  if (!row || (peer.uid != 0 && row->ownerUid != peer.uid)) noSuchTask(from_);
  if (row->state != "finished")
    throw Error(kClass, Code::conflict, "task " + from_ + " still runs, nothing can go on from it", "wait for its end", from_);
  previous_ = services_.store.openLayer(from_);
  const auto& base = previous_->base;
  if (base.device != device_ || base.inode != inode_)
    throw Error(kClass, Code::conflict, "task " + from_ + " worked on " + base.path + ", not on " + repoPath_,
                "leave --repo-path out, or name the same directory", repoPath_);
  if (base.uid != ownerUid_ || base.gid != ownerGid_)
    throw Error(kClass, Code::conflict,
                repoPath_ + " belonged to " + std::to_string(base.uid) + ":" + std::to_string(base.gid) + " when task " + from_ +
                    " ran, now to " + std::to_string(ownerUid_) + ":" + std::to_string(ownerGid_),
                "apply that task's changes, and run on the tree", repoPath_);
  startedNs_ = base.startedNs;
}

std::vector<UniqueFd> TaskChanges::lower() const {
  std::vector<UniqueFd> out;
  if (previous_) out.push_back(duplicate(previous_->layer.get()));
  return out;
}

Task<void> TaskChanges::attach(schema::Agent::Client agent, std::string containerId, uint32_t idBase, uint32_t idCount) {
  // From here on the host's tree is to stand still: the task runs next.
  if (!previous_) startedNs_ = realNs();
  auto opening = services_.workers.run([repo = duplicate(repo_.get()), at = startedNs_] { return indexOf(repo.get(), at); });
  index_ = std::make_unique<kj::Promise<UniqueFd>>(opening.catch_([](kj::Exception&&) { return UniqueFd(); }));
  auto call = agent.writableLayerRequest();
  call.setContainerId(containerId);
  call.setTarget(image::kWorkspace);
  auto answer = co_await call.send();
  throwOnError(answer.getOutcome());
  auto layer = answer.getLayer();
  kj::Maybe<int> descriptor = co_await layer.getFd();
  KJ_IF_MAYBE (fd, descriptor) {
    upper_ = duplicate(*fd);
  } else {
    throw Error(kClass, Code::internal, "the zone's writable layer did not arrive");
  }
  ids_.base = idBase;
  if (idCount > 0) ids_.count = idCount;
  ids_.runUid = answer.getRunUid() - idBase;
  ids_.runGid = answer.getRunGid() - idBase;
  ids_.ownerUid = ownerUid_;
  ids_.ownerGid = ownerGid_;
  if (previous_ && (previous_->runUid != ids_.runUid || previous_->runGid != ids_.runGid))
    throw Error(kClass, Code::conflict,
                "task " + from_ + " ran as " + std::to_string(previous_->runUid) + ":" + std::to_string(previous_->runGid) +
                    " of its zone, this one would run as " + std::to_string(ids_.runUid) + ":" + std::to_string(ids_.runGid),
                "use an image with the same user", from_);
}

changes::ChangeSet TaskChanges::describeFailure(const std::string& why) const {
  changes::ChangeSet set;
  set.truncated = true;  // an empty list would say that nothing changed
  set.keptNote = why;
  set.base = {repoPath_, device_, inode_, ownerUid_, ownerGid_, startedNs_};
  set.from = from_;
  return set;
}

// What the worker needs, owned by it: whoever awaits it may be dropped while it runs, and it must not wait for that.
struct TaskChanges::Work {
  changes::Input input;
  UniqueFd upper, base, index, predecessor, destination;
  std::atomic<bool> dropped = false;
};

std::shared_ptr<TaskChanges::Work> TaskChanges::work(int destination) const {
  auto out = std::make_shared<Work>();
  out->upper = duplicate(upper_.get());
  out->base = duplicate(repo_.get());
  if (previous_) out->predecessor = duplicate(previous_->layer.get());
  out->destination = duplicate(destination);
  auto& input = out->input;
  input.upper = out->upper.get();
  input.base = out->base.get();
  input.predecessor = out->predecessor.get();
  input.destination = out->destination.get();
  input.basePath = repoPath_;
  input.startedNs = startedNs_;
  input.ids = ids_;
  input.from = from_;
  input.cancelled = [work = out.get()] { return work->dropped.load(); };
  return out;
}

Task<void> TaskChanges::collect(std::vector<std::string> notes) {
  if (!upper_) co_return;
  std::optional<changes::Destination> destination;
  std::string problem;
  try {
    destination = services_.store.begin(taskId_);
    const auto work = this->work(destination->directory.get());
    const Defer dropped([&work] { work->dropped = true; });
    if (index_) {
      auto opening = kj::mv(*index_);
      work->index = co_await kj::mv(opening);
      work->input.baseIndex = work->index.get();
    }
    services_.store.prepare(work->input);
    work->input.notes = std::move(notes);
    auto collecting = services_.workers.run([work] { return changes::collect(work->input); });
    set_ = co_await kj::mv(collecting);
    services_.store.commit(std::move(*destination), *set_);
    destination.reset();
  } catch (...) {
    problem = currentError(kClass).text();
  }
  if (destination) services_.store.abort(std::move(*destination));
  if (!problem.empty()) set_ = describeFailure("the changes could not be collected: " + problem);
  upper_.reset();
  index_.reset();
  previous_.reset();
}

void TaskChanges::leave(const std::string& why) {
  set_ = describeFailure("the changes were not collected: " + why);
  upper_.reset();
  index_.reset();
  previous_.reset();
}

void TaskChanges::write(schema::ChangeSet::Builder out, size_t most) const { changes::writeChangeSet(out, *set_, most); }

}  // namespace rauha
