#pragma once
// The few lines for people that follow a task's own output: how it ended, what was weaker than the best, what was refused and by which
// policy line it would be allowed, what is missing from the evidence.

#include <schemas/task.capnp.h>

#include <string>

namespace rauha::cli {

class Style;

// Lines, each with its line break. Text from the task or the daemon is made printable.
std::string summaryOf(schema::TaskResult::Reader result, const Style& style);

}  // namespace rauha::cli
