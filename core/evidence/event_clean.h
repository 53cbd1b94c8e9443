#pragma once
// Events come from plugins and carry what tasks wrote: before anybody else sees one, its texts are made UTF-8, one line and bounded.

#include "core/evidence/event.h"

namespace rauha::evidence {

inline constexpr size_t kMaxMessageBytes = 1024;
inline constexpr size_t kMaxAttributes = 32;
inline constexpr size_t kMaxAttributeBytes = 4096;
inline constexpr size_t kMaxAttributesBytes = 8192;
inline constexpr size_t kMaxIdBytes = 64;

// A name that is none becomes "evidence.malformed", the attribute "name" keeps it. Attributes that do not fit are left out, the attribute
// "truncated" says so.
void cleanEvent(Event& event);

}  // namespace rauha::evidence
