// `rauha apply TASK [PATH...]`
#include <unistd.h>

#include "frontends/cli/changes/apply_report.h"
#include "frontends/cli/changes/apply_run.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/last_task.h"
#include "frontends/cli/output.h"
#include "frontends/cli/remote_changes.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr const char* kExamples = R"(  rauha apply last --dry-run
  rauha apply task_4f0c src/ tests/
  rauha apply last --all-or-nothing --include-protected
"last" is the newest task with changes, whichever repository it had; from within another one it is refused.
Exit status: 0 done (protected paths that were left out are named and do not count);
1 conflicts or failures: with a conflict nothing is applied, unless --skip-conflicts or --force.
Caches that tools run (__pycache__, .ccache, ...) are left out, unless a PATH inside of one is named.
A kill leaves each file old or new, never half; run the same command again to complete it.
)";

struct Options {
  std::optional<std::string> task, tree;
  ApplyOptions apply;
};

bool parse(const Invocation& invocation, Arguments& arguments, Options& options) {
  ApplyOptions& apply = options.apply;
  arguments.positional("TASK", options.task, "a task's id, a unique beginning of one, or \"last\"", true);
  arguments.flag("-n,--dry-run", apply.dryRun, "only say what would be done");
  arguments.flag("--include-protected", apply.includeProtected,
                 "also what can run code on this machine: git hooks, CI files, set-user-ID, caches, …");
  arguments.flag("--all-or-nothing", apply.allOrNothing,
                 "make everything ready first, and take all back when one file fails (a kill takes nothing back)");
  arguments.flag("--skip-conflicts", apply.skipConflicts, "apply what has no conflict");
  arguments.flag("--force", apply.force, "replace what changed on the host since the task began");
  arguments.flag("--owner", apply.owner, "carry owner and group over, where you may");
  arguments.option("--tree", options.tree, "DIR", "the repository, when it was moved");
  arguments.positionals("PATH", apply.paths, "only what is at or below these paths");
  if (!arguments.parse(invocation)) return false;
  apply.paths.insert(apply.paths.end(), invocation.command.begin(), invocation.command.end());
  if (apply.allOrNothing && apply.skipConflicts)
    throw Error("usage", Code::invalid, "rauha apply: --all-or-nothing and --skip-conflicts exclude each other", "choose one of them");
  return true;
}

bool hasConflict(const std::vector<Item>& items) {
  for (const auto& item : items)
    if (item.verdict == Verdict::conflict) return true;
  return false;
}

void requireKept(schema::ChangeSet::Reader info) {
  if (info.getKept()) return;
  throw Error("repository", Code::notFound, "the task's changes were not kept: " + str(info.getKeptNote()), "run the task again");
}

int print(const ApplySummary& summary, bool json) {
  if (json) {
    printDocument(applyJson(summary));
  } else {
    for (const auto& note : summary.notes) printWarning(note);
    printText(applyText(summary));
  }
  return succeeded(summary) ? kOk : kFailure;
}

}  // namespace

int applyCommand(const Invocation& invocation) {
  Options options;
  Arguments arguments(
      "rauha apply",
      "Bring a task's changes into the repository, as yourself: beneath its top only, through no symbolic link, each file whole.\n\n"
      "rauha apply TASK [PATH...] [options]",
      kExamples);
  if (!parse(invocation, arguments, options)) return kOk;
  Client client(instancePaths(arguments.root()));
  RemoteChanges remote(client, *options.task);
  tellLast(client, remote, *options.task, options.tree, invocation.json);
  requireKept(remote.info());
  const ChangeSet set = remote.all();
  const Tree tree(options.tree ? *options.tree : set.base.path);
  if (!options.tree) requireOwnTree(*options.task, set.taskId, set.base.path);
  if (!options.tree) tree.mustBe(set.base);
  for (auto& path : options.apply.paths) path = treePath(path, set.base.path);
  auto items = planApply(set, tree, options.apply);
  ApplySummary summary;
  summary.taskId = set.taskId;
  summary.tree = tree.path();
  summary.dryRun = options.apply.dryRun;
  summary.items = &items;
  summary.refused = hasConflict(items) && !options.apply.skipConflicts;
  if (!summary.refused && !summary.dryRun) {
    const ApplyReport report = runApply(set, tree, remote, options.apply, items);
    summary.notes = report.notes;
    summary.undone = report.undone;
  }
  return print(summary, invocation.json);
}

}  // namespace rauha::cli
