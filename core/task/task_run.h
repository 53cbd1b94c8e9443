#pragma once
// One pass of a task through the house: policy, image and zone, container, process, output, end, clean-up, result.
//
// Each stage is a coroutine that throws rauha::Error; execute() turns whatever happened into the result document. Whatever was taken (zone,
// image lease) is given back in cleanUp(), which runs on every path. Owner: the TaskService's task set. Thread: the event loop.

#include <sys/stat.h>

#include <optional>
#include <string>

#include "core/task/copy_watch.h"
#include "core/task/task_changes.h"
#include "core/task/task_service.h"

namespace rauha {

class TaskRun final {
 public:
  TaskRun(TaskService& service, std::shared_ptr<RunningTask> task);
  Task<void> execute();
  const std::string& zoneId() const noexcept { return zoneId_; }

 private:
  enum class End { exited, timedOut, cancelled, lost };
  Task<void> runToEnd();
  void record();
  std::string requestSummary() const;
  void applyImageConfig();
  Task<void> prepare();
  schema::Agent::Client agent() const;
  Task<void> createContainer();
  Task<void> startProcess();
  Task<End> waitForEnd();
  Task<void> endZone(End why);
  Task<bool> askToEnd(End why);
  kj::Promise<void> silence();
  Task<void> copySilence(const CopyWatch& watch);
  Task<void> cleanUp();
  Task<bool> endProcesses();
  void finish(std::optional<Error> failure);
  void writeIdentity(schema::TaskResult::Builder out);
  void writeExit(schema::TaskResult::Builder out);
  void writeFailure(schema::TaskResult::Builder out, const Error& error);
  void writeTimes(schema::TaskResult::Builder out, int64_t now);
  // How much of the evidence goes into the result: a message has its largest size, and nobody gets one that is larger.
  enum class Extent { whole, fewChanges, bare };
  using Message = std::shared_ptr<capnp::MallocMessageBuilder>;
  Message writeResult(const std::optional<Error>& failure, int64_t finished, Extent extent);
  void writeEvidence(schema::TaskResult::Builder out, Extent extent);
  void writeEnforcement(schema::TaskResult::Builder out, const std::vector<evidence::Event>& all);
  Task<void> askEnforcer();
  void emit(std::string_view name, evidence::Severity severity, std::string message,
            std::vector<std::pair<std::string, std::string>> attributes = {});
  void emitEnd(schema::TaskResult::Reader result, const std::optional<Error>& failure);
  void emitRefusal(const std::optional<Error>& failure);
  void notePidsRefused();
  void noteWarnings();
  void checkRepoMode();
  Task<void> openRepository();
  Task<void> collectChanges();
  Task<std::string> setFrozen(bool frozen);
  image::ContainerRequest containerRequest();
  uint64_t timeoutMs() const;
  void noteTimeoutCut();
  std::vector<std::string> notes_;  // for the result
  void stage(const char* name);

  TaskService& service_;
  std::shared_ptr<RunningTask> task_;
  ZonePool::Id boundary_;
  const std::string zoneId_;
  std::optional<policy::Policy> policy_;
  std::optional<plugin::ResolvedImage> image_;
  image::Config imageConfig_;
  int stopSignal_ = 0;  // what ends the command when its time is up; 0: none yet
  std::shared_ptr<Zone> zone_;
  std::optional<Posture> posture_;
  std::optional<struct stat> repository_;  // absent: none was given
  std::optional<TaskChanges> changes_;     // repository mode overlay
  kj::Maybe<schema::Process::Client> process_;
  kj::Maybe<capnp::Response<schema::Process::WaitResults>> exit_;
  kj::Maybe<kj::ForkedPromise<void>> waited_;
  std::optional<evidence::Collector> events_;
  std::shared_ptr<Capture::State> stdout_, stderr_;
  End end_ = End::exited;
  EnforcementReport enforcement_;
  bool recorded_ = false, leased_ = false, started_ = false, labelled_ = false, shimHangs_ = false;
  bool sweep_ = false;      // the zone's processes have ended, the rest of it goes after the answer
  std::string zoneStands_;  // why the zone could not be ended; empty: it is gone, or kept
  int64_t createdNs_, startedNs_ = 0, lastStageNs_;
  int64_t startedMonotonicNs_ = 0, exitedMonotonicNs_ = 0;  // from before the agent was asked to until it had answered
  std::vector<std::pair<std::string, uint64_t>> stages_;
};

}  // namespace rauha
