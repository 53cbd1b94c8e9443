#pragma once
// The repository of a task in overlay mode: what it goes on from, the layer that its zone writes, and the change set that comes of it.
//
// Order: made before anything is built (refuses a predecessor that is not there or not the caller's); lower() when the container is
// described; attach() when it is built and before anything foreign runs; collect() when nothing of the zone runs any more. The layer is
// held by a descriptor from attach() on: it outlives the zone, and a shim that is lost takes nothing of it along. Owner: the TaskRun.
// Thread: the event loop; collecting runs on a worker.

#include <schemas/agent.capnp.h>
#include <schemas/task.capnp.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/coro.h"
#include "core/base/fd.h"
#include "core/base/worker_pool.h"
#include "core/changes/change_store.h"
#include "core/changes/collector.h"
#include "core/rpc/connection.h"

namespace rauha {

// What TaskService hands to each task.
struct ChangeServices {
  changes::ChangeStore& store;
  WorkerPool& workers;
  store::Store& records;
};

class TaskChanges final {
 public:
  // The tree as the client opened it, and what the kernel said about it. fd: duplicated.
  struct Repository {
    int fd;
    std::string path;
    struct stat status;
  };
  // from: a task id, or empty. Throws Error "repository".
  TaskChanges(const ChangeServices& services, std::string taskId, Repository repository, std::string from, const rpc::Peer& peer);

  uint32_t ownerUid() const noexcept { return ownerUid_; }
  uint32_t ownerGid() const noexcept { return ownerGid_; }
  // Layers of earlier tasks, lowest first, for image::Repository.
  std::vector<UniqueFd> lower() const;
  // Takes hold of the layer that the container writes at kWorkspace. Throws Error "repository" when the container's user is not the one
  // that the predecessor's files belong to.
  Task<void> attach(schema::Agent::Client agent, std::string containerId, uint32_t idBase, uint32_t idCount);
  // Compares, copies, records. Never throws: what went wrong stands in the set.
  Task<void> collect(std::vector<std::string> notes);
  // Instead of collect(): the set says why there is nothing in it.
  void leave(const std::string& why);
  bool collected() const noexcept { return set_.has_value(); }
  const changes::ChangeSet& set() const { return *set_; }
  // most: changes that are listed.
  void write(schema::ChangeSet::Builder out, size_t most) const;

 private:
  struct Work;
  std::shared_ptr<Work> work(int destination) const;
  void openPredecessor(const rpc::Peer& peer);
  changes::ChangeSet describeFailure(const std::string& why) const;

  const ChangeServices& services_;
  std::string taskId_, repoPath_, from_;
  UniqueFd repo_, upper_;
  // The host's index of git as the task found it. git replaces its index by another file, so this one stays what it was.
  // A promise: on a worker, because a file system may take its time, and awaited only by collect(), so that no start waits for it.
  std::unique_ptr<kj::Promise<UniqueFd>> index_;
  uint32_t ownerUid_ = 0, ownerGid_ = 0;
  uint64_t device_ = 0, inode_ = 0;
  int64_t startedNs_;
  changes::IdTranslation ids_;
  std::optional<changes::LayerInfo> previous_;
  std::optional<changes::ChangeSet> set_;
};

}  // namespace rauha
