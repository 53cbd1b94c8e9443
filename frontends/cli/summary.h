#pragma once
// The few lines for people that follow a task's own output: how it ended, what was weaker than the best, what was refused and by which
// policy line it would be allowed, what is missing from the evidence.

#include <schemas/task.capnp.h>

#include <string>

namespace rauha::cli {

class Style;

// Lines, each with its line break. Text from the task or the daemon is made printable. root: of a private instance, for the commands that
// are proposed; empty: the machine's.
std::string summaryOf(schema::TaskResult::Reader result, const Style& style, const std::string& root = {});

// A finished task for who asks later: ids, command, times, repository, then summaryOf.
std::string taskText(schema::TaskResult::Reader result, const Style& style, const std::string& root);

}  // namespace rauha::cli
