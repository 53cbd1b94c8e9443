// `rauha task list|show|delete|prune`
#include <capnp/dynamic.h>
#include <unistd.h>

#include "core/base/schema_error.h"
#include "core/base/units.h"
#include "core/evidence/json_writer.h"
#include "core/evidence/result_json.h"
#include "frontends/cli/client.h"
#include "frontends/cli/commands.h"
#include "frontends/cli/exit_code.h"
#include "frontends/cli/output.h"
#include "frontends/cli/report.h"
#include "frontends/cli/summary.h"
#include "frontends/cli/terminal.h"

namespace rauha::cli {
namespace {

using Summaries = capnp::List<schema::TaskSummary>::Reader;

std::string jsonOf(Summaries tasks) {
  JsonWriter writer(false);
  writer.value(capnp::DynamicValue::Reader(tasks));
  return writer.take();
}

std::string changesText(schema::TaskSummary::Reader task) {
  if (!task.hasChanges()) return {};
  const auto totals = task.getChanges();
  const uint64_t all = totals.getAdded() + totals.getModified() + totals.getDeleted() + totals.getTypeChanged() + totals.getRenamed();
  return std::to_string(all) + (task.getKept() ? "" : " (not kept)");
}

std::string commandText(schema::TaskSummary::Reader task) {
  std::string out;
  for (const auto word : task.getCommand()) out += (out.empty() ? "" : " ") + str(word);
  return out;
}

std::string tableOf(Summaries tasks) {
  Table table({"TASK", "STATUS", "CHANGES", "KEPT", "CREATED", "REPOSITORY", "COMMAND"});
  for (const auto task : tasks)
    table.add({str(task.getTaskId()), str(task.getStatus()), changesText(task),
               task.getKept() ? formatBytes(task.getKeptBytes()) : std::string(), str(task.getCreatedAt()), str(task.getRepoPath()),
               commandText(task)});
  return table.text(isatty(STDOUT_FILENO) == 1 ? terminalSize(STDOUT_FILENO).columns : 0);
}

uint32_t limitOf(const std::optional<std::string>& text) {
  if (!text) return 0;
  const bool digits = !text->empty() && text->size() < 10 && text->find_first_not_of("0123456789") == std::string::npos;
  if (!digits)
    throw Error("usage", Code::invalid, "rauha task list: --limit '" + *text + "' is no number", "write a number: --limit 20", "--limit");
  return static_cast<uint32_t>(std::stoul(*text));
}

int list(const Invocation& invocation) {
  Arguments arguments("rauha task list", "List the tasks that are remembered, newest first.",
                      "  rauha task list\n  rauha task list --limit 10 --json\n");
  std::optional<std::string> limit;
  arguments.option("--limit", limit, "N", "at most so many");
  if (!arguments.parse(invocation)) return kOk;
  const uint32_t most = limitOf(limit);
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.listTasksRequest();
    request.setLimit(most);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(document("tasks", jsonOf(response.getTasks()))), kOk;
  printText(tableOf(response.getTasks()));
  return kOk;
}

int show(const Invocation& invocation) {
  Arguments arguments("rauha task show",
                      "Show what a task was and how it ended. With --json: the document that `rauha sandbox --json` printed.",
                      "  rauha task show last\n  rauha task show task_4f0c --json\n");
  std::optional<std::string> task;
  arguments.positional("TASK", task, "a task's id, a unique beginning of one, or \"last\"", true);
  if (!arguments.parse(invocation)) return kOk;
  const auto paths = instancePaths(arguments.root());
  Client client(paths);
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.showTaskRequest();
    request.setTaskId(*task);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) return printDocument(toJson(response.getResult())), kOk;
  printText(taskText(response.getResult(), Style(STDOUT_FILENO), paths.root));
  return kOk;
}

int remove(const Invocation& invocation) {
  Arguments arguments("rauha task delete", "Forget a task: its record and the changes that it left. The repository is not touched.",
                      "  rauha task delete task_4f0c\n");
  std::optional<std::string> task;
  arguments.positional("TASK", task, "a task's id, a unique beginning of one, or \"last\"", true);
  if (!arguments.parse(invocation)) return kOk;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.deleteTaskRequest();
    request.setTaskId(*task);
    return request.send();
  });
  throwOnError(response.getOutcome());
  const std::string deleted = response.getTaskId().size() > 0 ? str(response.getTaskId()) : *task;
  if (invocation.json) return printDocument(document("deleted", jsonString(deleted))), kOk;
  printText("task " + printable(deleted) + " is deleted\n");
  return kOk;
}

// "7d" as well: days are what people keep things for.
uint64_t ageOf(const std::string& text) {
  constexpr uint64_t kDayHours = 24;
  std::string hours = text;
  if (!text.empty() && text.back() == 'd' && text.size() < 6 && text.find_first_not_of("0123456789") == text.size() - 1 && text.size() > 1)
    hours = std::to_string(std::stoul(text) * kDayHours) + "h";
  const auto milliseconds = parseDurationMs(hours);
  if (milliseconds && *milliseconds > 0) return *milliseconds;
  throw Error("usage", Code::invalid, "rauha task prune: --older-than '" + text + "' is no duration above 0",
              "write a number with its unit: 12h, 7d", "--older-than");
}

uint64_t sizeOf(const std::string& text) {
  const auto bytes = parseBytes(text);
  if (bytes && *bytes > 0) return *bytes;
  throw Error("usage", Code::invalid, "rauha task prune: --max-size '" + text + "' is no size above 0",
              "write a number with its unit: 500MiB, 1GiB", "--max-size");
}

int prune(const Invocation& invocation) {
  Arguments arguments(
      "rauha task prune",
      "Forget old tasks and the changes that they left, oldest first. Without limits, those of the configuration are applied.",
      "  rauha task prune --older-than 7d\n  rauha task prune --max-size 1GiB --dry-run\n");
  std::optional<std::string> olderThan, maxSize;
  bool dryRun = false;
  arguments.option("--older-than", olderThan, "TIME", "those that ended before: 12h, 7d");
  arguments.option("--max-size", maxSize, "SIZE", "until what is kept is not larger: 500MiB, 1GiB");
  arguments.flag("-n,--dry-run", dryRun, "only say which");
  if (!arguments.parse(invocation)) return kOk;
  const uint64_t age = olderThan ? ageOf(*olderThan) : 0, bytes = maxSize ? sizeOf(*maxSize) : 0;
  Client client(instancePaths(arguments.root()));
  const auto response = client.call([&](schema::Rauha::Client& rauha) {
    auto request = rauha.pruneTasksRequest();
    request.setOlderThanMs(age);
    request.setMaxBytes(bytes);
    request.setDryRun(dryRun);
    return request.send();
  });
  throwOnError(response.getOutcome());
  if (invocation.json) {
    printDocument(R"({"dry_run":)" + std::string(dryRun ? "true" : "false") + R"(,"freed_bytes":)" +
                  std::to_string(response.getFreedBytes()) + R"(,"tasks":)" + jsonOf(response.getTasks()) + "}");
    return kOk;
  }
  if (response.getTasks().size() > 0) printText(tableOf(response.getTasks()));
  printText(std::to_string(response.getTasks().size()) + (dryRun ? " tasks would be forgotten, " : " tasks are forgotten, ") +
            formatBytes(response.getFreedBytes()) + " freed\n");
  return kOk;
}

constexpr Subcommand kSubcommands[] = {{"list", "list the tasks that are remembered", list},
                                       {"show", "show a task's result", show},
                                       {"delete", "forget a task and the changes that it left", remove},
                                       {"prune", "forget old tasks", prune}};

}  // namespace

int taskCommand(const Invocation& invocation) { return dispatch("task", kSubcommands, std::size(kSubcommands), invocation); }

}  // namespace rauha::cli
