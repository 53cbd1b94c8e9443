#include "core/evidence/event.h"

namespace rauha::evidence {

bool isEventName(std::string_view name) noexcept {
  if (name.size() > 64) return false;
  size_t parts = 0;
  while (true) {
    const size_t dot = name.find('.');
    const auto part = name.substr(0, dot);
    if (part.empty() || part[0] < 'a' || part[0] > 'z') return false;
    for (const char c : part)
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    ++parts;
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  return parts >= 2 && parts <= 4;
}

}  // namespace rauha::evidence
