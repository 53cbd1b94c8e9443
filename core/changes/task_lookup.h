#pragma once
// Which task a person means. A caller sees its own tasks, root all; another's is as if it were not there. Thread: the event loop.

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/store/store.h"

namespace rauha::changes {

// Whose tasks this caller sees; absent: everybody's.
std::optional<uint32_t> visibleTo(uint32_t callerUid);

// What "last" means: the caller's newest task, or, for who asks for changes, the newest that made some and has them kept: a mistyped
// command, or one that only looked, is a task as well.
enum class Last : uint8_t { any, withChanges };

// text: an id, a unique beginning of one (with or without "task_", at least 4 characters of the rest), or "last".
// Throws Error "task": notFound, or invalid when several begin so or the beginning is too short.
store::TaskRow findTask(store::Store& store, std::string_view text, uint32_t callerUid, Last last = Last::any);

}  // namespace rauha::changes
