#include "core/task/task_service.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <utility>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/evidence/names.h"
#include "core/evidence/result_json.h"
#include "core/task/task_run.h"

namespace rauha {

RunningTask::RunningTask(TaskRequest r)
    : request(std::move(r)),
      pair_(kj::newPromiseAndFulfiller<std::shared_ptr<capnp::MallocMessageBuilder>>()),
      done_(pair_.promise.fork()),
      cancelled_(kj::newPromiseAndFulfiller<void>()),
      cancelRequested_(cancelled_.promise.fork()),
      cancelledTwice_(kj::newPromiseAndFulfiller<void>()),
      killRequested_(cancelledTwice_.promise.fork()),
      stdin_(kj::newPromiseAndFulfiller<schema::ByteSink::Client>()),
      token_(std::make_shared<plugin::CancelToken>()) {
  stdinClient_ = schema::ByteSink::Client(kj::mv(stdin_.promise));
}

void RunningTask::cancel(int signal, std::string why) {
  if (cancelling_ || signal == 0) cancelledTwice_.fulfiller->fulfill();
  if (cancelling_) return;
  cancelling_ = true;
  cancelReason_ = why.empty() ? "signal " + std::to_string(signal) : std::move(why);
  signal_ = signal;
  token_->cancel();
  cancelled_.fulfiller->fulfill();
}

void RunningTask::resize(uint16_t rows, uint16_t columns) {
  request.rows = rows;
  request.columns = columns;
  KJ_IF_MAYBE (process, process_) {
    auto call = process->resizeRequest();
    call.setRows(rows);
    call.setColumns(columns);
    call.send().ignoreResult().detach([](kj::Exception&&) {});  // the process may just have ended
  }
}

schema::ByteSink::Client RunningTask::stdin() { return KJ_ASSERT_NONNULL(stdinClient_); }

TaskService::TaskService(kj::Timer& timer, WorkerPool& workers, WorkerPool& imageWorkers, plugin::ImageSource& images, ZoneService& zones,
                         store::Store& store, evidence::EventBus& events, changes::ChangeStore& changes)
    : timer_(timer),
      workers_(workers),
      imageWorkers_(imageWorkers),
      images_(images),
      zones_(zones),
      store_(store),
      events_(events),
      changes_{changes, collectors_, store},
      clientFiles_(timer),
      tasks_(*this),
      later_(*this) {}

std::shared_ptr<RunningTask> TaskService::run(TaskRequest request, std::string* zoneId) {
  closeStrays();
  auto task = std::make_shared<RunningTask>(std::move(request));
  running_[task->request.id] = task;
  auto run = std::make_unique<TaskRun>(*this, task);
  zoneOfTask_[task->request.id] = run->zoneId();
  if (zoneId != nullptr) *zoneId = run->zoneId();
  // Whatever kept the task from writing its result: who waits for it is told, and the record is closed.
  auto promise = run->execute().promise().catch_([this, task, zone = run->zoneId()](kj::Exception&& e) {
    try {
      closeLater(task->request.id, zone);
    } catch (...) {
      strays_ = true;
    }
    task->pair_.fulfiller->reject(kj::cp(e));
    taskFailed(kj::mv(e));
  });
  tasks_.add(promise.attach(kj::mv(run), kj::defer([this, id = task->request.id] {
                              running_.erase(id);
                              zoneOfTask_.erase(id);
                            })));
  return task;
}

size_t TaskService::unfinished() const noexcept {
  return static_cast<size_t>(std::count_if(running_.begin(), running_.end(), [](const auto& entry) { return !entry.second->finished_; }));
}

bool TaskService::usesZone(const std::string& zoneId) const {
  for (const auto& [task, zone] : zoneOfTask_)
    if (zone == zoneId) return true;
  return false;
}

Task<void> TaskService::releaseImage(std::string zoneId) {
  auto pending = leaseWorkers_.run([this, zoneId] { images_.release({}, zoneId); });
  co_await kj::mv(pending);
}

void TaskService::releaseImageLater(const std::string& zoneId) { later_.add(keepReleasing(zoneId).promise()); }

Task<void> TaskService::keepReleasing(std::string zoneId) {
  constexpr int kTries = 8;  // a minute; after that the next start finds it
  for (int i = 0; i < kTries; ++i) {
    auto waiting = timer_.afterDelay((250LL << i) * kj::MILLISECONDS);
    co_await kj::mv(waiting);
    try {
      co_await releaseImage(zoneId);
      co_return;
    } catch (...) {
      continue;
    }
  }
}

bool TaskService::finishLater(const std::string& taskId, const std::string& status, int64_t finishedNs, std::string_view result) {
  if (result.size() > kMostWaitingBytes - waitingBytes_) return false;
  waitingBytes_ += result.size();
  waiting_.insert(taskId);
  later_.add(keepTrying([this, taskId, status, finishedNs, result = std::string(result)] {
               store_.finishTask(taskId, status, finishedNs, result);
             })
                 .promise()
                 .attach(kj::defer([this, taskId, bytes = result.size()] {
                   waitingBytes_ -= bytes;
                   waiting_.erase(taskId);
                 })));
  return true;
}

Task<void> TaskService::keepTrying(std::function<void()> write) {
  constexpr int kTries = 12;  // some twenty minutes; after that the next start closes the record
  bool done = false;
  try {
    for (int i = 0; i < kTries && !done; ++i) {
      auto waiting = timer_.afterDelay((250LL << i) * kj::MILLISECONDS);
      co_await kj::mv(waiting);
      try {
        write();
        done = true;
      } catch (...) {
        // What was in the way still is.
      }
    }
  } catch (...) {
    // There is not even the memory to wait.
  }
  if (!done) strays_ = true;
}

// Where memory was so short that closing them could not be put off, the next task's start does it.
void TaskService::closeStrays() noexcept {
  if (!std::exchange(strays_, false)) return;
  try {
    for (const auto& row : store_.openTasks())
      if (running_.count(row.id) == 0 && waiting_.count(row.id) == 0)
        close(row.id, row.zoneId, "the result of task " + row.id + " could not be written");
  } catch (...) {
    strays_ = true;
  }
}

void TaskService::close(const std::string& taskId, const std::string& zoneId, const std::string& why) {
  capnp::MallocMessageBuilder message;
  auto result = message.initRoot<schema::TaskResult>();
  result.setTaskId(taskId);
  result.setZoneId(zoneId);
  result.setStatus(schema::TaskStatus::RUNTIME_ERROR);
  auto error = result.initError();
  error.setClass("daemon");
  error.setCode(schema::ErrorCode::INTERNAL);
  error.setText(why);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  store_.finishTask(taskId, "runtime_error", realNs(), std::string_view(reinterpret_cast<const char*>(bytes.begin()), bytes.size()));
}

void TaskService::closeLater(const std::string& taskId, const std::string& zoneId) {
  later_.add(
      keepTrying([this, taskId, zoneId] { close(taskId, zoneId, "the result of task " + taskId + " could not be written"); }).promise());
}

size_t TaskService::reconcile() {
  const auto open = store_.openTasks();
  for (const auto& row : open) {
    close(row.id, row.zoneId, "the daemon ended while task " + row.id + " ran");
    evidence::Event event;
    event.name = evidence::names::kReconcileTaskClosed;
    event.severity = evidence::Severity::notice;
    event.zoneId = row.zoneId;
    event.taskId = row.id;
    event.source = "core";
    event.message = "task " + row.id + " of an earlier daemon: closed as runtime_error";
    event.attributes = {{"status", "runtime_error"}};
    events_.emit(std::move(event));
  }
  return open.size();
}

void TaskService::keepHistory() noexcept {
  if (history_ == 0) return;
  try {
    store_.pruneTasks(history_, 0);
  } catch (const std::exception&) {
    // The store is full or broken, which what was just to be recorded has told; the next task and the next start try again.
  }
}

void TaskService::keepHistorySoon() {
  if (++finishedSince_ <= history_ / 16) return;
  finishedSince_ = 0;
  later_.add(kj::evalLast([this] { keepHistory(); }));
}

kj::Promise<void> TaskService::drain() {
  for (auto& [id, task] : running_) task->cancel(0, "the daemon stops");
  return tasks_.onEmpty();
}

void TaskService::taskFailed(kj::Exception&& exception) {
  evidence::Event event;
  event.name = evidence::names::kTaskFailed;
  event.severity = evidence::Severity::error;
  event.source = "core";
  const Error error = fromKj(exception);
  event.message = "a task's clean-up failed: " + error.text();
  event.attributes = {{"class", error.errorClass()}, {"code", std::string(codeName(error.code()))}};
  events_.emit(std::move(event));
}

}  // namespace rauha
