#include "core/rpc/task_history_service.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/schema_error.h"
#include "core/base/utf8.h"
#include "core/changes/task_lookup.h"
#include "core/rpc/change_set_reader.h"
#include "core/rpc/reply_limit.h"
#include "core/rpc/request_summary.h"
#include "core/store/task_history.h"

namespace rauha::rpc {
namespace {

// One reply must stay a message that a client reads: bounded by number, and by bytes.
constexpr size_t kMostTasks = 10'000;

// At least what writeSummary() makes of the two: JSON's shortest word has three bytes, a Text with its pointer sixteen; a bad byte of a
// path becomes three.
size_t replyBytes(const store::TaskRow& row, const std::optional<store::ChangeSetRow>& set) {
  return 768 + 6 * row.requestSummary.size() + (set ? 3 * set->basePath.size() : 0);
}

std::string_view view(capnp::Text::Reader t) { return {t.begin(), t.size()}; }

// A domain error becomes the outcome.
template <typename Context, typename F>
kj::Promise<void> guarded(Context context, F f) {
  try {
    f(context.getParams(), context.getResults());
  } catch (const Error& e) {
    writeOutcome(context.getResults().initOutcome(), e);
  }
  return kj::READY_NOW;
}

void writeCounts(schema::ChangeTotals::Builder out, const store::ChangeCounts& c) {
  out.setAdded(c.added);
  out.setModified(c.modified);
  out.setDeleted(c.deleted);
  out.setTypeChanged(c.typeChanged);
  out.setRenamed(c.renamed);
  out.setAddedBytes(c.addedBytes);
  out.setDeletedBytes(c.deletedBytes);
  out.setProtected(c.protectedCount);
  out.setNoise(c.noise);
}

// The stored bytes are a flat message of our own, at no particular alignment.
kj::Array<capnp::word> wordsOf(const std::string& bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.data(), words.size() * sizeof(capnp::word));
  return words;
}

}  // namespace

store::TaskRow TaskHistoryService::finished(capnp::Text::Reader text, changes::Last last) {
  auto row = changes::findTask(store_, view(text), callerUid_, last);
  if (row.state != "finished") throw Error("task", Code::conflict, "task " + row.id + " is still running", howToEnd(row), row.id);
  return row;
}

// There is no call that cancels somebody's task: whoever runs it does, or the zone is taken away from under it.
std::string TaskHistoryService::howToEnd(const store::TaskRow& row) {
  std::string out = "wait for its end, or end it: press Ctrl-C where its `rauha sandbox` runs, or send that process SIGTERM";
  const auto zone = store_.zone(row.zoneId);
  if (zone && !zone->temporary) out += "; or `rauha zone delete --force " + zone->name + "`";
  return out;
}

// Why there is no change set, where the way in which the repository was given says so.
void TaskHistoryService::requireOverlay(const store::TaskRow& row) {
  const std::string mode = readRequestSummary(row.requestSummary).repoMode;
  if (mode == "rw")
    throw Error("repository", Code::notFound, "task " + row.id + " ran with --repo-mode rw: its changes are in the tree",
                "look at them there, with git diff for instance", row.id);
  if (mode == "ro")
    throw Error("repository", Code::notFound, "task " + row.id + " ran with --repo-mode ro: it could not change the tree",
                "leave --repo-mode out to keep what a task changes", row.id);
  if (mode == "none")
    throw Error("repository", Code::notFound, "task " + row.id + " had no repository", "give it one: --repo-path DIR", row.id);
}

// Nothing of it takes room but its record, which goes by age alone.
bool TaskHistoryService::agedWithoutSet(const store::TaskRow& row, int64_t keepNs) {
  if (row.state != "finished" || keepNs <= 0 || realNs() - row.finishedNs <= keepNs) return false;
  const auto set = store_.history().changeSet(row.id);
  return !set || !set->kept;
}

// Those that fit into one reply, from the first: one in any case.
std::vector<TaskHistoryService::Listed> TaskHistoryService::fitting(std::vector<store::TaskRow> rows) {
  std::vector<Listed> out;
  size_t bytes = 0;
  for (auto& row : rows) {
    auto set = store_.history().changeSet(row.id);
    bytes += replyBytes(row, set);
    if (!out.empty() && bytes > kMostListBytes) break;
    out.push_back({std::move(row), std::move(set)});
  }
  return out;
}

void TaskHistoryService::writeSummary(schema::TaskSummary::Builder out, const Listed& listed) {
  const auto& [task, set] = listed;
  const auto summary = readRequestSummary(task.requestSummary);
  out.setTaskId(task.id);
  out.setStatus(task.state == "finished" ? task.status : "running");
  auto command = out.initCommand(static_cast<unsigned>(summary.command.size()));
  for (unsigned i = 0; i < command.size(); ++i) command.set(i, summary.command[i]);
  out.setImage(summary.image);
  out.setCreatedAt(rfc3339(task.createdNs));
  if (task.finishedNs != 0) out.setFinishedAt(rfc3339(task.finishedNs));
  out.setOwnerUid(task.ownerUid);
  if (!set) {
    if (!summary.repository.empty()) out.setRepoPath(summary.repository);
    return;
  }
  writeCounts(out.initChanges(), set->counts);
  out.setKept(set->kept);
  out.setKeptBytes(set->bytes);
  out.setRepoPath(toUtf8(set->basePath));
  if (!set->fromTask.empty()) out.setFrom(set->fromTask);
}

kj::Promise<void> TaskHistoryService::listTasks(Context<R::ListTasksParams, R::ListTasksResults> context) {
  return guarded(context, [this](auto params, auto results) {
    const size_t asked = params.getLimit() == 0 ? kMostTasks : params.getLimit();
    const auto rows = fitting(store_.history().newest(changes::visibleTo(callerUid_), std::min(asked, kMostTasks)));
    auto out = results.initTasks(static_cast<unsigned>(rows.size()));
    for (unsigned i = 0; i < out.size(); ++i) writeSummary(out[i], rows[i]);
  });
}

kj::Promise<void> TaskHistoryService::showTask(Context<R::ShowTaskParams, R::ShowTaskResults> context) {
  return guarded(context, [this](auto params, auto results) {
    const auto row = finished(params.getTaskId());
    const auto words = wordsOf(row.result);
    try {
      capnp::ReaderOptions options;
      options.traversalLimitInWords = UINT64_MAX;
      capnp::FlatArrayMessageReader message(words, options);
      results.setResult(message.getRoot<schema::TaskResult>());
    } catch (const kj::Exception& e) {
      throw Error("store", Code::corrupt, "the result of task " + row.id + " is damaged: " + e.getDescription().cStr(),
                  "delete it: rauha task delete " + row.id, row.id);
    }
    // The result is of the task's end; what was kept then may have gone since.
    auto result = results.getResult();
    if (result.hasChanges() && result.getChanges().getKept() && !changes_.isKept(row.id)) {
      result.getChanges().setKept(false);
      result.getChanges().setKeptNote("removed since: [changes] of rauha.toml says how long changes are kept");
    }
  });
}

kj::Promise<void> TaskHistoryService::deleteTask(Context<R::DeleteTaskParams, R::DeleteTaskResults> context) {
  return guarded(context, [this](auto params, auto results) {
    const auto row = finished(params.getTaskId());
    changes_.forget(row.id);
    store_.deleteTask(row.id);
    results.setTaskId(row.id);
  });
}

kj::Promise<void> TaskHistoryService::pruneTasks(Context<R::PruneTasksParams, R::PruneTasksResults> context) {
  return guarded(context, [this](auto params, auto results) {
    changes::Retention retention = changes_.retention();
    if (params.getOlderThanMs() != 0 || params.getMaxBytes() != 0) {
      retention.keepNs = static_cast<int64_t>(std::min<uint64_t>(params.getOlderThanMs(), INT64_MAX / 1'000'000)) * 1'000'000;
      retention.keepBytes = params.getMaxBytes();
    }
    const auto tasks = store_.history().newest(changes::visibleTo(callerUid_), SIZE_MAX);
    std::set<std::string> visible;
    for (const auto& task : tasks) visible.insert(task.id);
    const auto expired = changes_.expired(retention, [&](const std::string& id) { return visible.contains(id); });
    const std::set<std::string> sets(expired.begin(), expired.end());
    // Oldest first: what does not fit into this answer is the next one's.
    std::vector<store::TaskRow> due;
    for (auto row = tasks.rbegin(); row != tasks.rend() && due.size() < kMostTasks; ++row)
      if (sets.contains(row->id) || agedWithoutSet(*row, retention.keepNs)) due.push_back(*row);
    const auto rows = fitting(std::move(due));
    auto out = results.initTasks(static_cast<unsigned>(rows.size()));
    uint64_t freed = 0;
    for (unsigned i = 0; i < out.size(); ++i) {
      writeSummary(out[i], rows[i]);
      freed += out[i].getKeptBytes();
      if (params.getDryRun()) continue;
      changes_.forget(rows[i].task.id);
      store_.deleteTask(rows[i].task.id);
    }
    results.setFreedBytes(freed);
  });
}

kj::Promise<void> TaskHistoryService::openChanges(Context<R::OpenChangesParams, R::OpenChangesResults> context) {
  return guarded(context, [this](auto params, auto results) {
    const auto row = finished(params.getTaskId(), changes::Last::withChanges);
    requireOverlay(row);
    results.setChanges(makeChangeSetReader(changes_.open(row.id)));
    results.setTaskId(row.id);
  });
}

}  // namespace rauha::rpc
