#include "core/store/store.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/store/checkpointer.h"
#include "core/store/database.h"
#include "core/store/instance_lock.h"
#include "core/store/migrations.h"
#include "core/store/rows.h"
#include "core/store/task_history.h"

namespace rauha::store {
namespace {

// Opened, checked and of the newest shape before any statement is prepared.
class OpenedDatabase final {
 public:
  explicit OpenedDatabase(const std::string& path) : database_(path) {
    // Nothing is written to a file that is not ours; and the log comes before the tables, as it saves most of their waits for the disk.
    checkVersion(database_, migrations());
    const auto mode = database_.readText("PRAGMA journal_mode = WAL", "open");
    if (mode != "wal")
      throw Error("store", Code::unsupported, path + ": the file system allows no write-ahead log (journal mode is " + mode + ")",
                  "keep the state directory on a local file system", path);
    database_.execute("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 4194304;", "open");
    migrate(database_, migrations());
    // The table that decides what is torn down. The others are read as they are needed.
    const auto verdict = database_.readText("PRAGMA quick_check(zone)", "open");
    if (verdict != "ok")
      throw Error("store", Code::corrupt, path + ": the table of zones is damaged: " + verdict,
                  "stop rauhad, move the file away and start again; what its zones left behind is then removed", path);
  }
  Database& get() noexcept { return database_; }

 private:
  Database database_;
};

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

}  // namespace

struct Store::Impl {
  explicit Impl(const std::string& directory) : lock(directory + "/rauha.lock"), opened(directory + "/rauha.db") {}

  InstanceLock lock;
  OpenedDatabase opened;
  Database& db = opened.get();

  Statement insertZone{db, "INSERT INTO zone (id, " RAUHA_ZONE_VALUES ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", "record a zone"};
  Statement updateZone{db, "UPDATE zone SET (" RAUHA_ZONE_VALUES ") = (?,?,?,?,?,?,?,?,?,?,?,?,?) WHERE id = ?", "update a zone"};
  Statement setZoneState{db, "UPDATE zone SET state = ? WHERE id = ?", "update a zone"};
  Statement deleteZone{db, "DELETE FROM zone WHERE id = ?", "delete a zone"};
  Statement zoneById{db, "SELECT id, " RAUHA_ZONE_VALUES " FROM zone WHERE id = ?", "read a zone"};
  Statement zoneByName{db, "SELECT id, " RAUHA_ZONE_VALUES " FROM zone WHERE name = ?", "read a zone"};
  Statement zones{db, "SELECT id, " RAUHA_ZONE_VALUES " FROM zone ORDER BY created_ns, rowid", "read the zones"};

  Statement insertTask{db, "INSERT INTO task (" RAUHA_TASK_HEAD ", result) VALUES (?,?,?,?,?,?,?,?,?,?)", "record a task"};
  Statement setTaskSummary{db, "UPDATE task SET request_summary = ? WHERE id = ?", "change a task's summary"};
  Statement finishTask{db, "UPDATE task SET state = 'finished', status = ?, finished_ns = ?, result = ? WHERE id = ?", "finish a task"};
  Statement deleteTask{db, "DELETE FROM task WHERE id = ?", "delete a task"};
  Statement taskById{db, "SELECT " RAUHA_TASK_HEAD ", result FROM task WHERE id = ?", "read a task"};
  Statement openTasks{db, "SELECT " RAUHA_TASK_HEAD " FROM task WHERE state = 'running' ORDER BY created_ns, rowid", "read the open tasks"};
  Statement tasks{db, "SELECT " RAUHA_TASK_HEAD " FROM task ORDER BY created_ns DESC, rowid DESC LIMIT ?", "read the tasks"};
  Statement pruneTasks{db,
                       "DELETE FROM task WHERE state = 'finished' AND (finished_ns < ? OR id NOT IN "
                       "(SELECT id FROM task WHERE state = 'finished' ORDER BY finished_ns DESC, rowid DESC LIMIT ?)) "
                       "AND id NOT IN (SELECT task_id FROM change_set WHERE kept != 0)",
                       "prune the tasks"};

  Statement insertEvent{db, "INSERT INTO event (" RAUHA_EVENT_COLUMNS ") VALUES (?,?,?,?,?,?,?,?)", "record an event"};
  Statement insertAttribute{db, "INSERT INTO event_attribute (sequence, position, key, value) VALUES (?,?,?,?)", "record an event"};
  Statement attributes{db, "SELECT key, value FROM event_attribute WHERE sequence = ? ORDER BY position", "read the events"};
  Statement lastSequence{db, "SELECT ifnull(max(sequence), 0) FROM event", "read the events"};
  // The sequence below which everything goes; no row: there are not that many.
  Statement eventAt{db, "SELECT sequence FROM event ORDER BY sequence DESC LIMIT 1 OFFSET ?", "prune the events"};
  Statement pruneEvents{db, "DELETE FROM event WHERE sequence <= ?", "prune the events"};
  Statement pruneAttributes{db, "DELETE FROM event_attribute WHERE sequence <= ?", "prune the events"};

  Statement counter{db, "SELECT value FROM counter WHERE name = ?", "read a counter"};
  Statement addToCounter{db,
                         "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                         "write a counter"};

  Checkpointer checkpointer{db};
  TaskHistory history{db};
  Statement putState{db,
                     "INSERT INTO plugin_state (plugin, zone_id, bytes) SELECT ?, id, ? FROM zone WHERE id = ? "
                     "ON CONFLICT (plugin, zone_id) DO UPDATE SET bytes = excluded.bytes",
                     "keep a plugin's state"};
  Statement getState{db, "SELECT bytes FROM plugin_state WHERE plugin = ? AND zone_id = ?", "read a plugin's state"};
  Statement eraseState{db, "DELETE FROM plugin_state WHERE plugin = ? AND zone_id = ?", "erase a plugin's state"};

  static std::optional<ZoneRow> one(Statement& statement, std::string_view key) {
    Use use(statement);
    if (!use->text(key).row()) return std::nullopt;
    return readZone(statement);
  }
  void refuseName(const ZoneRow& row) {
    const auto other = one(zoneById, row.name);
    if (other && other->id != row.id)
      throw Error("store", Code::exists, "a zone has the id " + quoted(row.name), "choose another --name", row.name);
  }
  [[noreturn]] void nameTaken(const ZoneRow& row) {
    if (const auto other = one(zoneByName, row.name); other && other->id != row.id)
      throw Error("store", Code::exists, "a zone named " + quoted(row.name) + " exists",
                  "choose another --name, or delete that zone: rauha zone delete --name " + row.name, row.name);
    throw Error("store", Code::exists, "a zone with the id " + quoted(row.id) + " exists", "", row.id);
  }
  evidence::Event complete(evidence::Event event) {
    Use use(attributes);
    use->integer(static_cast<int64_t>(event.sequence));
    while (use->row()) event.attributes.emplace_back(attributes.readText(0), attributes.readText(1));
    return event;
  }
};

Store::Store(const std::string& directory) : impl_(std::make_unique<Impl>(directory)) {}
Store::~Store() = default;

void Store::insertZone(const ZoneRow& row) {
  const auto lock = impl_->db.lock();
  impl_->refuseName(row);
  Use use(impl_->insertZone);
  use->text(row.id);
  bindZone(impl_->insertZone, row);
  if (!use->run()) impl_->nameTaken(row);
}

void Store::updateZone(const ZoneRow& row) {
  const auto lock = impl_->db.lock();
  impl_->refuseName(row);
  Use use(impl_->updateZone);
  bindZone(impl_->updateZone, row);
  if (!use->text(row.id).run()) impl_->nameTaken(row);
  if (impl_->db.changes() == 0) throw Error("store", Code::notFound, "no zone " + quoted(row.id), "rauha zone list shows all", row.id);
}

void Store::setZoneState(std::string_view id, std::string_view state) {
  const auto lock = impl_->db.lock();
  Use use(impl_->setZoneState);
  use->text(state).text(id).run();
  if (impl_->db.changes() == 0) throw Error("store", Code::notFound, "no zone " + quoted(id), "rauha zone list shows all", std::string(id));
}

bool Store::deleteZone(std::string_view id) {
  const auto lock = impl_->db.lock();
  Use use(impl_->deleteZone);
  use->text(id).run();
  return impl_->db.changes() != 0;
}

std::optional<ZoneRow> Store::zone(std::string_view idOrName) {
  const auto lock = impl_->db.lock();
  if (auto row = Impl::one(impl_->zoneById, idOrName)) return row;
  return Impl::one(impl_->zoneByName, idOrName);
}

std::vector<ZoneRow> Store::zones() {
  const auto lock = impl_->db.lock();
  Use use(impl_->zones);
  std::vector<ZoneRow> out;
  while (use->row()) out.push_back(readZone(impl_->zones));
  return out;
}

void Store::insertTask(const TaskRow& row) {
  const auto lock = impl_->db.lock();
  Use use(impl_->insertTask);
  bindTaskHead(impl_->insertTask, row);
  if (!use->blob(row.result).run()) throw Error("store", Code::exists, "a task with the id " + quoted(row.id) + " exists", "", row.id);
}

void Store::setTaskSummary(std::string_view id, std::string_view requestSummary) {
  const auto lock = impl_->db.lock();
  Use use(impl_->setTaskSummary);
  use->text(requestSummary).text(id).run();
  if (impl_->db.changes() == 0) throw Error("store", Code::notFound, "no task " + quoted(id), "", std::string(id));
}

void Store::finishTask(std::string_view id, std::string_view status, int64_t finishedNs, std::string_view result) {
  const auto lock = impl_->db.lock();
  Use use(impl_->finishTask);
  use->text(status).integer(finishedNs).blob(result).text(id).run();
  if (impl_->db.changes() == 0) throw Error("store", Code::notFound, "no task " + quoted(id), "", std::string(id));
}

std::vector<TaskRow> Store::openTasks() {
  const auto lock = impl_->db.lock();
  Use use(impl_->openTasks);
  std::vector<TaskRow> out;
  while (use->row()) out.push_back(readTaskHead(impl_->openTasks));
  return out;
}

std::optional<TaskRow> Store::task(std::string_view id) {
  const auto lock = impl_->db.lock();
  Use use(impl_->taskById);
  if (!use->text(id).row()) return std::nullopt;
  auto row = readTaskHead(impl_->taskById);
  row.result = use->readText(9);
  return row;
}

std::vector<TaskRow> Store::tasks(size_t limit) {
  const auto lock = impl_->db.lock();
  Use use(impl_->tasks);
  use->integer(static_cast<int64_t>(std::min<size_t>(limit, INT64_MAX)));
  std::vector<TaskRow> out;
  while (use->row()) out.push_back(readTaskHead(impl_->tasks));
  return out;
}

bool Store::deleteTask(std::string_view id) {
  const auto lock = impl_->db.lock();
  Use use(impl_->deleteTask);
  use->text(id).run();
  return impl_->db.changes() != 0;
}

size_t Store::pruneTasks(size_t keepNewest, int64_t olderThanNs) {
  const auto lock = impl_->db.lock();
  Use use(impl_->pruneTasks);
  use->integer(olderThanNs).integer(static_cast<int64_t>(std::min<size_t>(keepNewest, INT64_MAX))).run();
  return impl_->db.changes();
}

void Store::appendEvents(const std::vector<evidence::Event>& events) {
  const auto lock = impl_->db.lock();
  if (events.empty()) return;
  Transaction transaction(impl_->db, "record events");
  for (const auto& event : events) {
    Use use(impl_->insertEvent);
    bindEvent(impl_->insertEvent, event);
    if (!use->run()) throw Error("store", Code::exists, "event " + std::to_string(event.sequence) + " is recorded already");
    int64_t position = 0;
    for (const auto& [key, value] : event.attributes) {
      Use attribute(impl_->insertAttribute);
      attribute->integer(static_cast<int64_t>(event.sequence)).integer(position++).text(key).text(value).run();
    }
  }
  transaction.commit();
}

std::vector<evidence::Event> Store::events(const EventQuery& query) {
  const auto lock = impl_->db.lock();
  // Few readers ask, each with its own combination: composed here, so that the index of the zone or task is used.
  std::string sql = "SELECT " RAUHA_EVENT_COLUMNS " FROM event WHERE sequence > ? AND severity >= ?";
  if (!query.zoneId.empty()) sql += " AND zone_id = ? AND zone_id != ''";
  if (!query.taskId.empty()) sql += " AND task_id = ? AND task_id != ''";
  sql += " ORDER BY sequence LIMIT ?";
  Statement statement(impl_->db, sql.c_str(), "read the events");
  statement.integer(static_cast<int64_t>(query.afterSequence)).integer(static_cast<int64_t>(query.minimum));
  if (!query.zoneId.empty()) statement.text(query.zoneId);
  if (!query.taskId.empty()) statement.text(query.taskId);
  statement.integer(static_cast<int64_t>(std::min<size_t>(query.limit, INT64_MAX)));
  std::vector<evidence::Event> out;
  while (statement.row()) out.push_back(impl_->complete(readEvent(statement)));
  return out;
}

uint64_t Store::lastSequence() {
  const auto lock = impl_->db.lock();
  Use use(impl_->lastSequence);
  return use->row() ? static_cast<uint64_t>(use->readInteger(0)) : 0;
}

size_t Store::pruneEvents(size_t keepNewest) {
  const auto lock = impl_->db.lock();
  Transaction transaction(impl_->db, "prune the events");
  int64_t last = 0;
  {
    Use use(impl_->eventAt);
    if (!use->integer(static_cast<int64_t>(std::min<size_t>(keepNewest, INT64_MAX))).row()) return 0;
    last = use->readInteger(0);
  }
  Use(impl_->pruneAttributes)->integer(last).run();
  Use use(impl_->pruneEvents);
  use->integer(last).run();
  const size_t count = impl_->db.changes();
  transaction.commit();
  return count;
}

TaskHistory& Store::history() noexcept { return impl_->history; }

int64_t Store::counter(std::string_view name) {
  const auto lock = impl_->db.lock();
  Use use(impl_->counter);
  return use->text(name).row() ? use->readInteger(0) : 0;
}

void Store::addToCounter(std::string_view name, int64_t delta) {
  const auto lock = impl_->db.lock();
  Use use(impl_->addToCounter);
  use->text(name).integer(delta).run();
}

void Store::putPluginState(std::string_view plugin, std::string_view zoneId, std::string_view bytes) {
  const auto lock = impl_->db.lock();
  Use use(impl_->putState);
  use->text(plugin).blob(bytes).text(zoneId).run();
  if (impl_->db.changes() == 0) throw Error("store", Code::notFound, "no zone " + quoted(zoneId), "", std::string(zoneId));
}

std::optional<std::string> Store::pluginState(std::string_view plugin, std::string_view zoneId) {
  const auto lock = impl_->db.lock();
  Use use(impl_->getState);
  if (!use->text(plugin).text(zoneId).row()) return std::nullopt;
  return use->readText(0);
}

void Store::erasePluginState(std::string_view plugin, std::string_view zoneId) {
  const auto lock = impl_->db.lock();
  Use use(impl_->eraseState);
  use->text(plugin).text(zoneId).run();
}

}  // namespace rauha::store
