#pragma once
// What the store knows about finished tasks beyond their rows: the change sets of core/changes, and how a task is found by what a person
// writes. A part of Store (Store::history()), of the same owner, thread and errors.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/store/store.h"

namespace rauha::store {

class Database;

// As schema::ChangeTotals.
struct ChangeCounts {
  uint64_t added = 0, modified = 0, deleted = 0, typeChanged = 0, renamed = 0;
  uint64_t addedBytes = 0, deletedBytes = 0, protectedCount = 0, noise = 0;
};

// The set of one task. It stays when its content was dropped: the totals are still worth showing.
struct ChangeSetRow {
  std::string taskId;
  std::string fromTask;     // the task that this one went on from; empty: none
  bool kept = false;        // its content is in the state directory
  bool followable = false;  // … and its layer can be mounted below another
  uint64_t bytes = 0;       // on disk; 0 when not kept
  int64_t createdNs = 0;    // CLOCK_REALTIME
  std::string basePath;     // bytes
  uint64_t baseDevice = 0, baseInode = 0;
  uint32_t baseUid = 0, baseGid = 0;
  int64_t baseStartedNs = 0;
  uint32_t runUid = 0, runGid = 0;
  ChangeCounts counts;
  uint32_t ownerUid = 0;  // of the task; read, not written
};

class TaskHistory final {
 public:
  explicit TaskHistory(Database& database);
  ~TaskHistory();
  TaskHistory(const TaskHistory&) = delete;
  TaskHistory& operator=(const TaskHistory&) = delete;

  // exists: the task has one.
  void insertChangeSet(const ChangeSetRow& row);
  std::optional<ChangeSetRow> changeSet(std::string_view taskId);
  std::vector<ChangeSetRow> changeSets();  // oldest first
  void setChangeSetDropped(std::string_view taskId);
  bool deleteChangeSet(std::string_view taskId);  // false: it was gone already
  size_t deleteOrphanedChangeSets();              // those whose task has no row

  // Newest first, without `result`. owner absent: everybody's.
  std::vector<TaskRow> newest(std::optional<uint32_t> owner, size_t limit);
  // Ids that begin with `beginning`, in order, at most `limit`.
  std::vector<std::string> idsThatBegin(std::string_view beginning, std::optional<uint32_t> owner, size_t limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rauha::store
