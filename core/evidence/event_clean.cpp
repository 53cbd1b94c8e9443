#include "core/evidence/event_clean.h"

#include "core/base/utf8.h"
#include "core/evidence/names.h"

namespace rauha::evidence {
namespace {

void cleanText(std::string& text, size_t max) {
  // What was cut inside a character is repaired by toUtf8.
  const bool cut = text.size() > max;
  if (cut) {
    size_t end = max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text.resize(end);
  }
  if (!isUtf8(text)) text = toUtf8(text);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (cut) text += "…";
}

void cleanAttributes(Event& event) {
  size_t total = 0;
  size_t kept = 0;
  for (auto& [key, value] : event.attributes) {
    cleanText(key, kMaxIdBytes);
    cleanText(value, kMaxAttributeBytes);
    total += key.size() + value.size();
    if (kept == kMaxAttributes || total > kMaxAttributesBytes) break;
    ++kept;
  }
  if (kept == event.attributes.size()) return;
  event.attributes.resize(kept);
  event.attributes.emplace_back("truncated", "true");
}

}  // namespace

void cleanEvent(Event& event) {
  if (!isEventName(event.name)) {
    event.attributes.emplace(event.attributes.begin(), "name", std::move(event.name));
    event.name = names::kEvidenceMalformed;
  }
  if (event.severity > Severity::error) event.severity = Severity::error;
  cleanText(event.zoneId, kMaxIdBytes);
  cleanText(event.taskId, kMaxIdBytes);
  cleanText(event.source, kMaxIdBytes);
  cleanText(event.message, kMaxMessageBytes);
  cleanAttributes(event);
}

}  // namespace rauha::evidence
