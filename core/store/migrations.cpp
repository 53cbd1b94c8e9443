#include "core/store/migrations.h"

#include <string>

#include "core/base/error.h"

namespace rauha::store {
namespace {

constexpr const char* kVersion1 = R"sql(
CREATE TABLE zone (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  policy_toml TEXT NOT NULL, policy_source TEXT NOT NULL, policy_digest TEXT NOT NULL,
  temporary INTEGER NOT NULL, task_id TEXT NOT NULL, owner_uid INTEGER NOT NULL, backend TEXT NOT NULL,
  created_ns INTEGER NOT NULL, shim_pid INTEGER NOT NULL, id_base INTEGER NOT NULL, layers BLOB NOT NULL
) STRICT;
CREATE TABLE task (
  id TEXT PRIMARY KEY, zone_id TEXT NOT NULL, zone_name TEXT NOT NULL, state TEXT NOT NULL, status TEXT NOT NULL,
  request_summary TEXT NOT NULL, owner_uid INTEGER NOT NULL, created_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL,
  result BLOB NOT NULL
) STRICT;
CREATE INDEX task_by_state ON task (state, finished_ns);
CREATE INDEX task_by_age ON task (created_ns);
CREATE TABLE event (
  sequence INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, name TEXT NOT NULL, severity INTEGER NOT NULL,
  zone_id TEXT NOT NULL, task_id TEXT NOT NULL, source TEXT NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_zone ON event (zone_id, sequence) WHERE zone_id != '';
CREATE INDEX event_by_task ON event (task_id, sequence) WHERE task_id != '';
CREATE TABLE event_attribute (
  sequence INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (sequence, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
)sql";

// Change sets. Columns as in task_history.h; a row whose task is gone is an orphan until the next start.
constexpr const char* kChangeSets = R"sql(
CREATE TABLE change_set (
  task_id TEXT PRIMARY KEY, from_task TEXT NOT NULL, kept INTEGER NOT NULL, followable INTEGER NOT NULL, bytes INTEGER NOT NULL,
  created_ns INTEGER NOT NULL, base_path BLOB NOT NULL, base_device INTEGER NOT NULL, base_inode INTEGER NOT NULL,
  base_uid INTEGER NOT NULL, base_gid INTEGER NOT NULL, base_started_ns INTEGER NOT NULL, run_uid INTEGER NOT NULL, run_gid INTEGER NOT NULL,
  added INTEGER NOT NULL, modified INTEGER NOT NULL, deleted INTEGER NOT NULL, type_changed INTEGER NOT NULL, renamed INTEGER NOT NULL,
  added_bytes INTEGER NOT NULL, deleted_bytes INTEGER NOT NULL, protected INTEGER NOT NULL, noise INTEGER NOT NULL
) STRICT;
CREATE INDEX change_set_by_age ON change_set (created_ns);
)sql";

// What plugins keep of zones (rauha.state/1).
constexpr const char* kPluginState = R"sql(
CREATE TABLE plugin_state (
  plugin TEXT NOT NULL, zone_id TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (plugin, zone_id)
) STRICT;
CREATE INDEX plugin_state_by_zone ON plugin_state (zone_id);
CREATE TRIGGER plugin_state_goes AFTER DELETE ON zone BEGIN DELETE FROM plugin_state WHERE zone_id = old.id; END;
)sql";

constexpr const char* kSteps[] = {kVersion1, kChangeSets, kPluginState};

}  // namespace

std::span<const char* const> migrations() noexcept { return kSteps; }

void checkVersion(Database& database, std::span<const char* const> steps) {
  const int64_t version = database.readInteger("PRAGMA user_version", "open");
  const size_t known = steps.size();
  const int64_t owner = database.readInteger("PRAGMA application_id", "open");
  const bool fresh = owner == 0 && version == 0 && database.readInteger("SELECT count(*) FROM sqlite_schema", "open") == 0;
  if (!fresh && owner != kApplicationId)
    throw Error("store", Code::corrupt, database.path() + " is a database of something else", "move it away, or choose another --root",
                database.path());
  if (version < 0 || static_cast<size_t>(version) > known)
    throw Error("store", Code::unsupported,
                database.path() + " has schema version " + std::to_string(version) + ", this rauhad knows up to " + std::to_string(known),
                "install a rauhad at least as new as the one that wrote it, or choose another --root", database.path());
}

void migrate(Database& database, std::span<const char* const> steps) {
  checkVersion(database, steps);
  for (int64_t version = database.readInteger("PRAGMA user_version", "open"); static_cast<size_t>(version) < steps.size(); ++version) {
    const std::string what = "migrate to version " + std::to_string(version + 1);
    Transaction transaction(database, what);
    database.execute(steps[static_cast<size_t>(version)], what);
    database.execute(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str(), what);
    database.execute(("PRAGMA user_version = " + std::to_string(version + 1)).c_str(), what);
    transaction.commit();
  }
}

}  // namespace rauha::store
