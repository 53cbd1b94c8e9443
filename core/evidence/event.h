#pragma once
// One piece of evidence, as a plain value: what the bus carries, the store keeps and results list. Its wire form is schemas/event.capnp.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rauha::evidence {

// The numbers are those of schema::Severity and of rauha_event.severity.
enum class Severity : uint16_t { debug = 0, info = 1, notice = 2, warning = 3, error = 4 };

struct Event {
  uint64_t sequence = 0;  // set by the bus
  int64_t timeNs = 0;     // CLOCK_REALTIME; 0: the bus sets it
  std::string name;       // "area.what", see names.h
  Severity severity = Severity::info;
  std::string zoneId;   // empty: not about a zone
  std::string taskId;   // empty: not about a task
  std::string source;   // "core" or a plugin's name
  std::string message;  // for people, one line
  std::vector<std::pair<std::string, std::string>> attributes;
};

// "area.what": two to four parts of [a-z][a-z0-9_]*, at most 64 bytes.
bool isEventName(std::string_view name) noexcept;

}  // namespace rauha::evidence
