// `rauha diff TASK [PATH...]`
#include <unistd.h>

#include "frontends/cli/change_reader.h"
#include "frontends/cli/changes/apply_plan.h"
#include "frontends/cli/changes/diff.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/last_task.h"
#include "frontends/cli/output.h"
#include "frontends/cli/remote_changes.h"
#include "frontends/cli/report.h"

namespace rauha::cli {
namespace {

constexpr const char* kExamples = R"(  rauha diff last
  rauha diff task_4f0c src/ --stat
  rauha diff last --patch > agent.patch && git apply agent.patch
  rauha diff last -- -rf            (a path that looks like an option)
Paths are relative to the repository's top. What can run code on this machine comes first.
)";

struct Options {
  std::optional<std::string> task, tree;
  std::vector<std::string> paths;
  bool all = false, stat = false, names = false, patch = false;
};

bool parse(const Invocation& invocation, Arguments& arguments, Options& options) {
  arguments.positional("TASK", options.task, "a task's id, a unique beginning of one, or \"last\"", true);
  arguments.flag("--stat", options.stat, "one line a file");
  arguments.flag("--name-status", options.names, "one letter, the path, and why it is protected: A M D T R");
  arguments.flag("--patch", options.patch,
                 "a patch that git apply takes, binary files included; what it cannot say is told on standard error");
  arguments.flag("--all", options.all, "also what is grouped as noise: refreshed indexes, mere times, caches (with --patch: caches)");
  arguments.option("--tree", options.tree, "DIR", "the repository, when it was moved");
  arguments.positionals("PATH", options.paths, "only what is at or below these paths");
  if (!arguments.parse(invocation)) return false;
  options.paths.insert(options.paths.end(), invocation.command.begin(), invocation.command.end());
  if (int{options.stat} + int{options.names} + int{options.patch} + int{invocation.json} > 1)
    throw Error("usage", Code::invalid, "rauha diff: --stat, --name-status, --patch and --json exclude each other", "choose one of them");
  return true;
}

// The host's tree, as far as it is there: without it, what the task wrote can still be shown.
std::optional<Tree> openTree(const RemoteChanges& changes, const std::optional<std::string>& named) {
  const BaseTree base = readBase(changes.info().getBase());
  try {
    Tree tree(named ? *named : base.path);
    if (!named) tree.mustBe(base);
    return tree;
  } catch (const Error& error) {
    if (named) throw;
    printWarning(error.text() + "; what files were before is not shown");
    return std::nullopt;
  }
}

void warnings(schema::ChangeSet::Reader info) {
  if (info.getHostTree() == schema::HostTree::CHANGED) {
    std::string paths;
    for (const auto path : info.getHostChanges()) paths += (paths.empty() ? "" : ", ") + str(path);
    printWarning(hostTreeChangedText(info) + (paths.empty() ? paths : ": " + paths));
  }
  for (const auto note : info.getNotes()) printWarning(str(note));
}

}  // namespace

int diffCommand(const Invocation& invocation) {
  Options options;
  Arguments arguments("rauha diff", "Show what a task did to its repository. Nothing is changed.\n\nrauha diff TASK [PATH...] [options]",
                      kExamples);
  if (!parse(invocation, arguments, options)) return kOk;
  Client client(instancePaths(arguments.root()));
  RemoteChanges remote(client, *options.task);
  tellLast(client, remote, *options.task, options.tree, invocation.json);
  for (auto& path : options.paths) path = treePath(path, readBase(remote.info().getBase()).path);
  if (invocation.json) return printDocument(remote.json(options.paths)), kOk;
  const ChangeSet set = remote.all();
  const auto changes = selectChanges(set, options.paths);
  warnings(remote.info());
  const auto tree = openTree(remote, options.tree);
  const Style style(STDOUT_FILENO);
  DiffPrinter printer(tree ? &*tree : nullptr, remote, printText, printWarning, isatty(STDOUT_FILENO) == 1, style, hostChangedText(set),
                      options.paths);
  if (options.patch) return printer.patch(changes, options.all) ? kOk : kFailure;
  if (options.names) return printer.names(changes, options.all), kOk;
  if (options.stat) return printer.stat(changes, options.all), kOk;
  printer.text(changes, options.all);
  return kOk;
}

}  // namespace rauha::cli
