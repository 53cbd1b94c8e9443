#pragma once
// Finished tasks of the fake daemon. Its one change set is described by files below its root: `host/` is the repository, `layer/` has new
// contents, and `fake-changes` a line for each change: A, M or D, then the path; "?" instead makes a path that leads out of the tree.

#include <schemas/client.capnp.h>

#include <string>

namespace rauha {

inline constexpr const char* kFakeTask = "task_00000000000000000000";

void fillSummary(schema::TaskSummary::Builder task, const std::string& root);
// A ChangeSetReader over the files. Throws Error when they are not there.
schema::ChangeSetReader::Client fakeChanges(const std::string& root);

}  // namespace rauha
