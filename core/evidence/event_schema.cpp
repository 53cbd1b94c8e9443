#include "core/base/clock.h"
#include "core/evidence/event_bus.h"

namespace rauha::evidence {

static_assert(static_cast<uint16_t>(schema::Severity::DEBUG) == static_cast<uint16_t>(Severity::debug));
static_assert(static_cast<uint16_t>(schema::Severity::ERROR) == static_cast<uint16_t>(Severity::error));

void writeEvent(schema::Event::Builder out, const Event& event) {
  const auto text = [](const std::string& s) { return capnp::Text::Reader(s.data(), s.size()); };
  out.setSequence(event.sequence);
  out.setTime(rfc3339(event.timeNs));
  out.setName(text(event.name));
  out.setSeverity(static_cast<schema::Severity>(event.severity));
  if (!event.zoneId.empty()) out.setZoneId(text(event.zoneId));
  if (!event.taskId.empty()) out.setTaskId(text(event.taskId));
  if (!event.source.empty()) out.setSource(text(event.source));
  if (!event.message.empty()) out.setMessage(text(event.message));
  auto attributes = out.initAttributes(static_cast<uint32_t>(event.attributes.size()));
  for (uint32_t i = 0; i < event.attributes.size(); ++i) {
    attributes[i].setKey(text(event.attributes[i].first));
    attributes[i].setValue(text(event.attributes[i].second));
  }
}

}  // namespace rauha::evidence
