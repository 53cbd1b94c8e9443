#pragma once
// "last" where it decides what is done: which task that is, of when, and on which tree, is said on standard error; and an `apply` from
// within another repository is refused, because its caller means that one. Blocks; the command's only thread.

#include <cstdint>
#include <optional>
#include <string>

#include "frontends/cli/remote_changes.h"

namespace rauha::cli {

// "task_x, 3 min ago, → /path". startedNs 0: no time is said; tree empty: none.
std::string lastText(const std::string& taskId, int64_t startedNs, int64_t nowNs, const std::string& tree);

// The line about the set that "last" stood for. tree: when another one than the task's is used. Does nothing for another word, and with
// --json.
void tellLast(Client& client, const RemoteChanges& remote, const std::string& word, const std::optional<std::string>& tree, bool json);

// The repository of git that the working directory is in, where that is another one than the tree: neither holds the other. Both as
// realpath(3) has them. Empty: none.
std::string otherRepository(const std::string& workingDirectory, const std::string& tree);

// Throws Error "repository" (conflict) when "last" would write to a tree while the caller stands in another repository.
void requireOwnTree(const std::string& word, const std::string& taskId, const std::string& tree);

}  // namespace rauha::cli
