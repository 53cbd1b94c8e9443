#include "core/store/rows.h"

namespace rauha::store {

void bindZone(Statement& s, const ZoneRow& row) {
  s.text(row.name).text(row.state).text(row.policyToml).text(row.policySource).text(row.policyDigest);
  s.integer(row.temporary ? 1 : 0).text(row.taskId).integer(row.ownerUid).text(row.backend).integer(row.createdNs);
  s.integer(row.shimPid).integer(row.idBase).blob(row.layers);
}

ZoneRow readZone(const Statement& s) {
  ZoneRow row;
  row.id = s.readText(0);
  row.name = s.readText(1);
  row.state = s.readText(2);
  row.policyToml = s.readText(3);
  row.policySource = s.readText(4);
  row.policyDigest = s.readText(5);
  row.temporary = s.readInteger(6) != 0;
  row.taskId = s.readText(7);
  row.ownerUid = static_cast<uint32_t>(s.readInteger(8));
  row.backend = s.readText(9);
  row.createdNs = s.readInteger(10);
  row.shimPid = static_cast<int32_t>(s.readInteger(11));
  row.idBase = static_cast<uint32_t>(s.readInteger(12));
  row.layers = s.readText(13);
  return row;
}

void bindTaskHead(Statement& s, const TaskRow& row) {
  s.text(row.id).text(row.zoneId).text(row.zoneName).text(row.state).text(row.status).text(row.requestSummary);
  s.integer(row.ownerUid).integer(row.createdNs).integer(row.finishedNs);
}

TaskRow readTaskHead(const Statement& s) {
  TaskRow row;
  row.id = s.readText(0);
  row.zoneId = s.readText(1);
  row.zoneName = s.readText(2);
  row.state = s.readText(3);
  row.status = s.readText(4);
  row.requestSummary = s.readText(5);
  row.ownerUid = static_cast<uint32_t>(s.readInteger(6));
  row.createdNs = s.readInteger(7);
  row.finishedNs = s.readInteger(8);
  return row;
}

void bindEvent(Statement& s, const evidence::Event& event) {
  s.integer(static_cast<int64_t>(event.sequence)).integer(event.timeNs).text(event.name).integer(static_cast<int64_t>(event.severity));
  s.text(event.zoneId).text(event.taskId).text(event.source).text(event.message);
}

evidence::Event readEvent(const Statement& s) {
  evidence::Event event;
  event.sequence = static_cast<uint64_t>(s.readInteger(0));
  event.timeNs = s.readInteger(1);
  event.name = s.readText(2);
  const int64_t severity = s.readInteger(3);
  event.severity = severity >= 0 && severity <= 4 ? static_cast<evidence::Severity>(severity) : evidence::Severity::error;
  event.zoneId = s.readText(4);
  event.taskId = s.readText(5);
  event.source = s.readText(6);
  event.message = s.readText(7);
  return event;
}

}  // namespace rauha::store
