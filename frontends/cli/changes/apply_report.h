#pragma once
// What an apply did, or would do, or refuses: lines for people and one JSON document. Pure.

#include <string>
#include <vector>

#include "frontends/cli/changes/apply_plan.h"

namespace rauha::cli {

struct ApplySummary {
  std::string taskId, tree;
  bool dryRun = false;
  bool refused = false;  // conflicts, and nothing was done because of them
  bool undone = false;   // all or nothing, and one step failed
  const std::vector<Item>* items = nullptr;
  std::vector<std::string> notes;
};

// Nothing was refused or failed: the exit status is 0. What was left out by choice (protected paths without --include-protected, devices)
// does not count.
bool succeeded(const ApplySummary& summary);
// {"task_id":…,"tree":…,"dry_run":…,"ok":…,"refused":…,"undone":…,"counts":{…},"changes":[{"path":…,"action":…,"verdict":…,"reason":…}]}
std::string applyJson(const ApplySummary& summary);
// Protected ones first. Every line made printable.
std::string applyText(const ApplySummary& summary);

}  // namespace rauha::cli
