#include "core/store/task_history.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/store/database.h"
#include "core/store/rows.h"

namespace rauha::store {
namespace {

#define RAUHA_CHANGE_SET_COLUMNS                                                                                                       \
  "task_id, from_task, kept, followable, bytes, created_ns, base_path, base_device, base_inode, base_uid, base_gid, base_started_ns, " \
  "run_uid, run_gid, added, modified, deleted, type_changed, renamed, added_bytes, deleted_bytes, protected, noise"

// The columns, and who owns the task. A set whose task is gone counts as root's until the next start removes it.
#define RAUHA_CHANGE_SET RAUHA_CHANGE_SET_COLUMNS ", coalesce((SELECT owner_uid FROM task WHERE id = task_id), 0)"

void bind(Statement& s, const ChangeSetRow& row) {
  const auto number = [&](uint64_t value) { s.integer(static_cast<int64_t>(value)); };
  s.text(row.taskId).text(row.fromTask).integer(row.kept ? 1 : 0).integer(row.followable ? 1 : 0);
  number(row.bytes);
  s.integer(row.createdNs).blob(row.basePath);
  number(row.baseDevice);
  number(row.baseInode);
  s.integer(row.baseUid).integer(row.baseGid).integer(row.baseStartedNs).integer(row.runUid).integer(row.runGid);
  const auto& c = row.counts;
  for (const uint64_t value :
       {c.added, c.modified, c.deleted, c.typeChanged, c.renamed, c.addedBytes, c.deletedBytes, c.protectedCount, c.noise})
    number(value);
}

ChangeSetRow readChangeSet(const Statement& s) {
  int column = 0;
  const auto number = [&] { return static_cast<uint64_t>(s.readInteger(column++)); };
  ChangeSetRow row;
  row.taskId = s.readText(column++);
  row.fromTask = s.readText(column++);
  row.kept = number() != 0;
  row.followable = number() != 0;
  row.bytes = number();
  row.createdNs = s.readInteger(column++);
  row.basePath = s.readText(column++);
  row.baseDevice = number();
  row.baseInode = number();
  row.baseUid = static_cast<uint32_t>(number());
  row.baseGid = static_cast<uint32_t>(number());
  row.baseStartedNs = s.readInteger(column++);
  row.runUid = static_cast<uint32_t>(number());
  row.runGid = static_cast<uint32_t>(number());
  auto& c = row.counts;
  for (uint64_t* value :
       {&c.added, &c.modified, &c.deleted, &c.typeChanged, &c.renamed, &c.addedBytes, &c.deletedBytes, &c.protectedCount, &c.noise})
    *value = number();
  row.ownerUid = static_cast<uint32_t>(number());
  return row;
}

// Of a statement whose condition is "(? OR owner_uid = ?)".
Statement& bindOwner(Statement& s, std::optional<uint32_t> owner) { return s.integer(owner ? 0 : 1).integer(owner.value_or(0)); }

}  // namespace

struct TaskHistory::Impl {
  explicit Impl(Database& database) : db(database) {}
  Database& db;
  Statement insert{db, "INSERT INTO change_set (" RAUHA_CHANGE_SET_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                   "record a change set"};
  Statement one{db, "SELECT " RAUHA_CHANGE_SET " FROM change_set WHERE task_id = ?", "read a change set"};
  Statement all{db, "SELECT " RAUHA_CHANGE_SET " FROM change_set ORDER BY created_ns, rowid", "read the change sets"};
  Statement drop{db, "UPDATE change_set SET kept = 0, followable = 0, bytes = 0 WHERE task_id = ?", "drop a change set"};
  Statement erase{db, "DELETE FROM change_set WHERE task_id = ?", "delete a change set"};
  Statement orphans{db, "DELETE FROM change_set WHERE task_id NOT IN (SELECT id FROM task)", "delete change sets without a task"};
  Statement newest{db, "SELECT " RAUHA_TASK_HEAD " FROM task WHERE (? OR owner_uid = ?) ORDER BY created_ns DESC, rowid DESC LIMIT ?",
                   "read the tasks"};
  // Ids are of [0-9a-v_] and below "~".
  Statement begins{db, "SELECT id FROM task WHERE (? OR owner_uid = ?) AND id >= ? AND id < ? ORDER BY id LIMIT ?", "find a task"};
};

TaskHistory::TaskHistory(Database& database) : impl_(std::make_unique<Impl>(database)) {}
TaskHistory::~TaskHistory() = default;

void TaskHistory::insertChangeSet(const ChangeSetRow& row) {
  const auto lock = impl_->db.lock();
  Use use(impl_->insert);
  bind(impl_->insert, row);
  if (!use->run()) throw Error("store", Code::exists, "task " + row.taskId + " has a change set already", "", row.taskId);
}

std::optional<ChangeSetRow> TaskHistory::changeSet(std::string_view taskId) {
  const auto lock = impl_->db.lock();
  Use use(impl_->one);
  if (!use->text(taskId).row()) return std::nullopt;
  return readChangeSet(impl_->one);
}

std::vector<ChangeSetRow> TaskHistory::changeSets() {
  const auto lock = impl_->db.lock();
  Use use(impl_->all);
  std::vector<ChangeSetRow> out;
  while (use->row()) out.push_back(readChangeSet(impl_->all));
  return out;
}

void TaskHistory::setChangeSetDropped(std::string_view taskId) {
  const auto lock = impl_->db.lock();
  Use use(impl_->drop);
  use->text(taskId).run();
}

bool TaskHistory::deleteChangeSet(std::string_view taskId) {
  const auto lock = impl_->db.lock();
  Use use(impl_->erase);
  use->text(taskId).run();
  return impl_->db.changes() != 0;
}

size_t TaskHistory::deleteOrphanedChangeSets() {
  const auto lock = impl_->db.lock();
  Use use(impl_->orphans);
  use->run();
  return impl_->db.changes();
}

std::vector<TaskRow> TaskHistory::newest(std::optional<uint32_t> owner, size_t limit) {
  const auto lock = impl_->db.lock();
  Use use(impl_->newest);
  bindOwner(impl_->newest, owner).integer(static_cast<int64_t>(std::min<size_t>(limit, INT64_MAX)));
  std::vector<TaskRow> out;
  while (use->row()) out.push_back(readTaskHead(impl_->newest));
  return out;
}

std::vector<std::string> TaskHistory::idsThatBegin(std::string_view beginning, std::optional<uint32_t> owner, size_t limit) {
  const auto lock = impl_->db.lock();
  const std::string from(beginning), to = from + "~";
  Use use(impl_->begins);
  bindOwner(impl_->begins, owner).text(from).text(to).integer(static_cast<int64_t>(std::min<size_t>(limit, INT64_MAX)));
  std::vector<std::string> out;
  while (use->row()) out.push_back(use->readText(0));
  return out;
}

}  // namespace rauha::store
