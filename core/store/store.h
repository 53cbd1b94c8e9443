#pragma once
// The truth about what should exist: zones, tasks and events of one instance, in SQLite (WAL) below the state directory.
//
// Owner: the daemon. Thread: the event loop's, but for the state of plugins, which their calls read and write from any; an operation is a
// prepared statement and takes well under 0.1 ms (synchronous=NORMAL: a commit survives a killed daemon; the last ones before a power cut
// may be lost, the file stays whole; checkpoints have a thread of their own). One Store per directory on this machine, held by a lock file
// that names its owner. Errors: rauha::Error of class "store": busy (another daemon), limit (disk full), corrupt, unsupported (schema of a
// newer rauhad), exists, notFound, io. A failed operation has changed nothing, and the Store stays usable.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/evidence/event.h"

namespace rauha::store {

class TaskHistory;

// A zone from the moment it is wished for until nothing of it is left.
struct ZoneRow {
  std::string id;     // "zone_…"
  std::string name;   // unique among the rows, and never that of another row's id
  std::string state;  // as schema::ZoneState: "creating", "ready", "deleting", "failed"
  std::string policyToml, policySource, policyDigest;
  bool temporary = false;  // of a sandbox task
  std::string taskId;      // of the task that made it; empty: none
  uint32_t ownerUid = 0;
  std::string backend;    // plugin's name
  int64_t createdNs = 0;  // CLOCK_REALTIME
  int32_t shimPid = 0;    // 0: none
  uint32_t idBase = 0;    // first host id of its range; 0: none
  std::string layers;     // opaque bytes of core/zone: the posture as armed
};

struct TaskRow {
  std::string id;  // "task_…"
  std::string zoneId, zoneName;
  std::string state;           // "running" or "finished"
  std::string status;          // as schema::TaskStatus in JSON ("timed_out"); empty while running
  std::string requestSummary;  // JSON text
  uint32_t ownerUid = 0;
  int64_t createdNs = 0;
  int64_t finishedNs = 0;  // 0 while running
  std::string result;      // opaque bytes of core/task: the result document
};

struct EventQuery {
  std::string zoneId, taskId;  // empty: all
  uint64_t afterSequence = 0;  // only later ones
  evidence::Severity minimum = evidence::Severity::debug;
  size_t limit = 1000;  // the oldest ones that match
};

class Store final {
 public:
  // Opens or makes <directory>/rauha.db and takes <directory>/rauha.lock; the directory must exist.
  explicit Store(const std::string& directory);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // exists: "a zone named 'x' exists", or the id is taken.
  void insertZone(const ZoneRow& row);
  // Writes every column but id; notFound when there is no such zone, exists when the name is another's.
  void updateZone(const ZoneRow& row);
  void setZoneState(std::string_view id, std::string_view state);  // notFound
  // false: it was gone already.
  bool deleteZone(std::string_view id);
  // An id is looked for first, then a name.
  std::optional<ZoneRow> zone(std::string_view idOrName);
  std::vector<ZoneRow> zones();  // oldest first

  void insertTask(const TaskRow& row);
  // What people see of a running task's request; notFound.
  void setTaskSummary(std::string_view id, std::string_view requestSummary);
  // Writes state "finished", status, finishedNs and result; notFound.
  void finishTask(std::string_view id, std::string_view status, int64_t finishedNs, std::string_view result);
  std::vector<TaskRow> openTasks();  // running, oldest first: after a start these are what a dead daemon left
  std::optional<TaskRow> task(std::string_view id);
  std::vector<TaskRow> tasks(size_t limit);  // newest first, without `result`
  bool deleteTask(std::string_view id);      // false: it was gone already
  // Deletes finished tasks that are not among the newest `keepNewest` finished ones, and those finished before olderThanNs (a point in
  // time; 0: none). One whose change set is kept stays: when that goes is for the retention of change sets to say. Returns how many.
  size_t pruneTasks(size_t keepNewest, int64_t olderThanNs);

  // All or nothing, in one transaction. Sequence numbers that are there already are refused as exists.
  void appendEvents(const std::vector<evidence::Event>& events);
  std::vector<evidence::Event> events(const EventQuery& query);  // by sequence
  uint64_t lastSequence();                                       // 0: none; where the event bus of the next daemon goes on
  size_t pruneEvents(size_t keepNewest);

  // Change sets, and finding tasks: task_history.h. Lives as long as the Store.
  TaskHistory& history() noexcept;

  // Numbers that outlive the daemon ("events.dropped"); 0 when never set.
  int64_t counter(std::string_view name);
  void addToCounter(std::string_view name, int64_t delta);

  // What a plugin keeps about a zone (rauha.state/1): one blob, gone with the zone's row. Any thread.
  void putPluginState(std::string_view plugin, std::string_view zoneId, std::string_view bytes);  // notFound: no such zone
  std::optional<std::string> pluginState(std::string_view plugin, std::string_view zoneId);
  void erasePluginState(std::string_view plugin, std::string_view zoneId);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rauha::store
