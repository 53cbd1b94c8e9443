#pragma once
// Rows to and from statements; the order of columns is said here once.

#include "core/store/database.h"
#include "core/store/store.h"

namespace rauha::store {

#define RAUHA_ZONE_VALUES \
  "name, state, policy_toml, policy_source, policy_digest, temporary, task_id, owner_uid, backend, created_ns, shim_pid, id_base, layers"
#define RAUHA_TASK_HEAD "id, zone_id, zone_name, state, status, request_summary, owner_uid, created_ns, finished_ns"
#define RAUHA_EVENT_COLUMNS "sequence, time_ns, name, severity, zone_id, task_id, source, message"

// Everything but the id, in the order of RAUHA_ZONE_VALUES.
void bindZone(Statement& statement, const ZoneRow& row);
// Of "SELECT id, " RAUHA_ZONE_VALUES.
ZoneRow readZone(const Statement& statement);
// In the order of RAUHA_TASK_HEAD.
void bindTaskHead(Statement& statement, const TaskRow& row);
TaskRow readTaskHead(const Statement& statement);
void bindEvent(Statement& statement, const evidence::Event& event);
// Without attributes.
evidence::Event readEvent(const Statement& statement);

}  // namespace rauha::store
