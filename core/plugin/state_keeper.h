#pragma once
// Where plugins' state per zone is kept ("rauha.state/1"). An interface, so that core/plugin knows nothing of the store. Thread: any.
// Errors: rauha::Error; notFound when the zone is not known.

#include <optional>
#include <string>
#include <string_view>

namespace rauha::plugin {

class StateKeeper {
 public:
  virtual ~StateKeeper() = default;
  virtual void put(std::string_view plugin, std::string_view zoneId, std::string_view bytes) = 0;
  virtual std::optional<std::string> get(std::string_view plugin, std::string_view zoneId) = 0;
  virtual void erase(std::string_view plugin, std::string_view zoneId) = 0;  // idempotent
};

}  // namespace rauha::plugin
