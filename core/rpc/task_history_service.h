#pragma once
// The part of schemas/client.capnp that is about finished tasks and their change sets: list, show, delete, prune, read.
//
// A caller sees its own tasks, root all; another's is answered as if it were not there. Owner: the connection's service. Thread: the event
// loop; nothing here waits.

#include <schemas/client.capnp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/changes/change_store.h"
#include "core/changes/task_lookup.h"
#include "core/store/store.h"
#include "core/store/task_history.h"

namespace rauha::rpc {

class TaskHistoryService final {
 public:
  template <typename Params, typename Results>
  using Context = capnp::CallContext<Params, Results>;
  using R = schema::Rauha;

  TaskHistoryService(store::Store& store, changes::ChangeStore& changes, uint32_t callerUid)
      : store_(store), changes_(changes), callerUid_(callerUid) {}

  kj::Promise<void> listTasks(Context<R::ListTasksParams, R::ListTasksResults> context);
  kj::Promise<void> showTask(Context<R::ShowTaskParams, R::ShowTaskResults> context);
  kj::Promise<void> deleteTask(Context<R::DeleteTaskParams, R::DeleteTaskResults> context);
  kj::Promise<void> pruneTasks(Context<R::PruneTasksParams, R::PruneTasksResults> context);
  kj::Promise<void> openChanges(Context<R::OpenChangesParams, R::OpenChangesResults> context);

 private:
  store::TaskRow finished(capnp::Text::Reader text, changes::Last last = changes::Last::any);
  std::string howToEnd(const store::TaskRow& row);
  static void requireOverlay(const store::TaskRow& row);
  bool agedWithoutSet(const store::TaskRow& row, int64_t keepNs);
  struct Listed {
    store::TaskRow task;
    std::optional<store::ChangeSetRow> set;
  };
  std::vector<Listed> fitting(std::vector<store::TaskRow> rows);
  static void writeSummary(schema::TaskSummary::Builder out, const Listed& listed);

  store::Store& store_;
  changes::ChangeStore& changes_;
  const uint32_t callerUid_;
};

}  // namespace rauha::rpc
