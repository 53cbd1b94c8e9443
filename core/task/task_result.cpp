// The result document of a task: the part of TaskRun that writes down what happened.

#include <capnp/serialize.h>

#include <algorithm>

#include "core/base/clock.h"
#include "core/base/schema_error.h"
#include "core/base/utf8.h"
#include "core/changes/change_set_message.h"
#include "core/evidence/names.h"
#include "core/policy/allowing_line.h"
#include "core/task/task_run.h"

namespace rauha {
namespace {

namespace names = evidence::names;
using evidence::Severity;
using schema::TaskStatus;

// What output that is not UTF-8 may grow by as text.
constexpr size_t kReplacements = 64u << 10;

// The end of the last whole character within the first `most` bytes of UTF-8.
size_t textBoundary(const std::string& text, size_t most) {
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  return most;
}

size_t sizeOf(capnp::MallocMessageBuilder& message) {
  size_t words = 0;
  for (const auto segment : message.getSegmentsForOutput()) words += segment.size();
  return words * sizeof(capnp::word);
}

const char* statusName(TaskStatus status) {
  switch (status) {
    case TaskStatus::SUCCEEDED:
      return "succeeded";
    case TaskStatus::FAILED:
      return "failed";
    case TaskStatus::TIMED_OUT:
      return "timed_out";
    case TaskStatus::OUT_OF_MEMORY:
      return "out_of_memory";
    case TaskStatus::KILLED:
      return "killed";
    case TaskStatus::CANCELLED:
      return "cancelled";
    case TaskStatus::RUNTIME_ERROR:
      return "runtime_error";
  }
  return "runtime_error";
}

std::string_view eventName(TaskStatus status) {
  switch (status) {
    case TaskStatus::TIMED_OUT:
      return names::kTaskTimedOut;
    case TaskStatus::OUT_OF_MEMORY:
      return names::kTaskOutOfMemory;
    case TaskStatus::CANCELLED:
      return names::kTaskCancelled;
    case TaskStatus::RUNTIME_ERROR:
      return names::kTaskFailed;
    default:
      return names::kTaskFinished;
  }
}

}  // namespace

void TaskRun::writeIdentity(schema::TaskResult::Builder out) {
  const auto& request = task_->request;
  out.setTaskId(request.id);
  out.setZoneId(zoneId_);
  out.setZoneName(request.zoneName.empty() ? zoneId_ : request.zoneName);
  auto command = out.initCommand(static_cast<unsigned>(request.argv.size()));
  for (unsigned i = 0; i < command.size(); ++i) command.set(i, toUtf8(request.argv[i]));
  out.setImage(toUtf8(request.image));
  if (image_ && !image_->info.digest.empty()) out.setImageDigest(image_->info.digest);
  if (policy_) {
    out.setPolicy(policy_->name());
    out.setPolicyDigest(policy_->digest());
  }
  out.setRepoMode(request.repoMode);
  out.setZoneKept(request.keepZone && zone_ && started_ && zone_->state != ZoneState::deleting);
}

void TaskRun::writeFailure(schema::TaskResult::Builder out, const Error& error) {
  // A cancel that came before the process ran shows as an error of some stage; to the client it is the cancel it asked for.
  out.setStatus(task_->cancelling_ ? TaskStatus::CANCELLED : TaskStatus::RUNTIME_ERROR);
  if (!task_->cancelling_) writeError(out.initError(), error);
  if (task_->cancelling_ && task_->signal_ != 0) out.initSignal().setValue(task_->signal_);
}

void TaskRun::writeExit(schema::TaskResult::Builder out) {
  out.setStatus(end_ == End::timedOut ? TaskStatus::TIMED_OUT : end_ == End::cancelled ? TaskStatus::CANCELLED : TaskStatus::SUCCEEDED);
  if (end_ == End::cancelled && task_->signal_ != 0) out.initSignal().setValue(task_->signal_);
  KJ_IF_MAYBE (response, exit_) {
    const auto exit = response->getExit();
    out.setUsage(exit.getUsage());
    if (end_ != End::exited) return;
    if (exit.getOutOfMemory()) {
      out.setStatus(TaskStatus::OUT_OF_MEMORY);
      return;
    }
    if (exit.isExited()) {
      out.initExitCode().setValue(exit.getExited());
      out.setStatus(exit.getExited() == 0 ? TaskStatus::SUCCEEDED : TaskStatus::FAILED);
    } else {
      out.initSignal().setValue(exit.getSignaled());
      out.setStatus(TaskStatus::KILLED);
    }
  }
}

void TaskRun::writeEvidence(schema::TaskResult::Builder out, Extent extent) {
  const bool bare = extent == Extent::bare;
  std::vector<std::string> notes;
  if (!bare) notes = notes_;
  const auto output = [&](const char* name, const Capture::State& state, auto setText, auto setBase64) {
    if (bare) return;
    const bool text = isUtf8(state.kept);
    // Every bad byte becomes three of text; the bytes themselves are in base64, whole.
    std::string clean = toUtf8(state.kept);
    if (const size_t most = state.kept.size() + kReplacements; clean.size() > most) {
      clean.resize(textBoundary(clean, most));
      notes.push_back(std::string(name) + " is not UTF-8: its text is cut after " + std::to_string(clean.size()) + " bytes, " + name +
                      "_base64 has all that was kept");
    }
    // With its length: made from a std::string, a Text ends at the first NUL.
    setText(capnp::Text::Reader(clean.c_str(), clean.size()));
    if (!text) setBase64(base64(state.kept));
  };
  output(
      "stdout", *stdout_, [&](capnp::Text::Reader t) { out.setStdout(t); }, [&](const std::string& t) { out.setStdoutBase64(t); });
  output(
      "stderr", *stderr_, [&](capnp::Text::Reader t) { out.setStderr(t); }, [&](const std::string& t) { out.setStderrBase64(t); });
  if (changes_ && changes_->collected()) changes_->write(out.initChanges(), extent == Extent::whole ? changes::kResultChanges : 0);
  writeOutput(*stdout_, out.initStdoutStats());
  writeOutput(*stderr_, out.initStderrStats());
  if (bare) {
    for (auto stats : {out.getStdoutStats(), out.getStderrStats()}) {
      stats.setKept(0);
      stats.setTruncated(stats.getBytes() > 0);
    }
    notes.emplace_back("the result was too large for one message: output, events and the list of changes are left out of it");
  } else if (extent == Extent::fewChanges) {
    notes.emplace_back(
        "the result was too large for one message: the list of changes is left out of it; `rauha diff` shows them where they were kept");
  }
  auto list = out.initNotes(static_cast<unsigned>(notes.size()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, notes[i]);
  // Only of a run that came to a process: a boundary that was built and taken apart again protected nothing.
  if (posture_) writePosture(out.initPosture(), *posture_);
  if (task_->request.trace) {
    auto stages = out.initStages(static_cast<unsigned>(stages_.size()));
    for (unsigned i = 0; i < stages.size(); ++i) {
      stages[i].setName(stages_[i].first);
      stages[i].setNs(stages_[i].second);
    }
  }
}

// Of the command itself when it ran: from its exec to its death, without preparation and clean-up.
void TaskRun::writeTimes(schema::TaskResult::Builder out, int64_t now) {
  int64_t begin = startedNs_ != 0 ? startedNs_ : createdNs_, end = now;
  KJ_IF_MAYBE (response, exit_) {
    const auto exit = response->getExit();
    if (exit.getStartedNs() != 0) begin = exit.getStartedNs();
    if (exit.getFinishedNs() != 0) end = exit.getFinishedNs();
  }
  out.setStartedAt(rfc3339(begin));
  out.setFinishedAt(rfc3339(end));
  // Nobody may have set the clock meanwhile, but somebody may: what core saw pass is an upper bound, and takes its place then.
  int64_t passed = end - begin;
  if (startedMonotonicNs_ != 0) {
    const int64_t most = (exitedMonotonicNs_ != 0 ? exitedMonotonicNs_ : monotonicNs()) - startedMonotonicNs_;
    constexpr int64_t kMessageNs = 100'000'000;
    if (passed < 0 || passed > most + kMessageNs) passed = most;
  }
  out.setDurationMs(static_cast<uint64_t>(std::max<int64_t>(0, passed)) / 1'000'000);
}

// A fork that is refused shows as an odd error of the program, if at all.
void TaskRun::notePidsRefused() {
  KJ_IF_MAYBE (response, exit_) {
    const uint64_t count = response->getExit().getUsage().getPidsRefused();
    if (count == 0) return;
    const uint64_t pids = policy_->get().getResources().getPids();
    const std::string line = policy::allowingLine("resources.pids", std::to_string(2 * pids));
    const std::string what = "the limit of " + std::to_string(pids) + " processes and threads refused " + std::to_string(count) +
                             (count == 1 ? " fork" : " forks");
    emit(names::kTaskPidsRefused, Severity::warning, what,
         {{"count", std::to_string(count)}, {"pids", std::to_string(pids)}, {"allowing_line", line}});
    notes_.push_back(what + "; the policy line that allows more: " + line);
  }
}

void TaskRun::emitRefusal(const std::optional<Error>& failure) {
  if (!failure || !policy_ || !refusesRequiredLayer(*failure, policy_->get())) return;
  emit(names::kPolicyRefused, Severity::warning, failure->text(),
       {{"object", failure->object()}, {"allowing_line", policy::allowingLine("require", failure->object())}});
}

void TaskRun::emitEnd(schema::TaskResult::Reader result, const std::optional<Error>& failure) {
  const TaskStatus status = result.getStatus();
  const bool bad = status == TaskStatus::TIMED_OUT || status == TaskStatus::OUT_OF_MEMORY || status == TaskStatus::RUNTIME_ERROR;
  std::vector<std::pair<std::string, std::string>> attributes{{"status", statusName(status)}};
  switch (status) {
    case TaskStatus::TIMED_OUT:
      attributes.emplace_back("timeout_ms", std::to_string(timeoutMs()));
      break;
    case TaskStatus::OUT_OF_MEMORY:
      attributes.emplace_back("memory_bytes", std::to_string(policy_->get().getResources().getMemoryBytes()));
      break;
    case TaskStatus::CANCELLED:
      attributes.emplace_back("reason", task_->cancelReason_);
      break;
    case TaskStatus::RUNTIME_ERROR:
      if (!failure) break;
      attributes.emplace_back("class", failure->errorClass());
      attributes.emplace_back("code", codeName(failure->code()));
      break;
    default:
      if (result.getExitCode().isValue()) attributes.emplace_back("exit_code", std::to_string(result.getExitCode().getValue()));
      if (result.getSignal().isValue()) attributes.emplace_back("signal", std::to_string(result.getSignal().getValue()));
  }
  emit(eventName(status), bad ? Severity::warning : Severity::info, std::string("task ended: ") + statusName(status),
       std::move(attributes));
  for (const auto& [stream, state] : {std::pair{"stdout", stdout_}, std::pair{"stderr", stderr_}})
    if (state->total > state->kept.size())
      emit(names::kTaskOutputTruncated, Severity::notice, std::string(stream) + " was cut in the result",
           {{"stream", stream}, {"bytes", std::to_string(state->total)}, {"kept", std::to_string(state->kept.size())}});
}

// The enforcer's events stand apart from the others; its counters are there whatever became of the events.
void TaskRun::writeEnforcement(schema::TaskResult::Builder out, const std::vector<evidence::Event>& all) {
  const auto& enforcement = service_.zones_.enforcement();
  const auto ofEnforcer = [&](const evidence::Event& e) { return enforcement.configured() && e.source == enforcement.name(); };
  const auto count = static_cast<unsigned>(std::count_if(all.begin(), all.end(), ofEnforcer));
  auto theirs = out.initEnforcementEvents(count);
  auto others = out.initEvents(static_cast<unsigned>(all.size()) - count);
  unsigned i = 0, j = 0;
  for (const auto& event : all) writeEvent(ofEnforcer(event) ? theirs[i++] : others[j++], event);
  if (enforcement_.counters.empty()) return;
  auto counters = out.initEnforcementCounters(static_cast<unsigned>(enforcement_.counters.size()));
  for (unsigned k = 0; k < counters.size(); ++k) {
    const auto& from = enforcement_.counters[k];
    counters[k].setOperation(plugin::operationName(from.operation));
    counters[k].setAllowed(from.allowed);
    counters[k].setDenied(from.denied);
    counters[k].setWouldDeny(from.wouldDeny);
    counters[k].setErrors(from.errors);
    counters[k].setLost(from.lost);
  }
}

TaskRun::Message TaskRun::writeResult(const std::optional<Error>& failure, int64_t finished, Extent extent) {
  auto message = std::make_shared<capnp::MallocMessageBuilder>();
  auto out = message->initRoot<schema::TaskResult>();
  writeIdentity(out);
  if (failure)
    writeFailure(out, *failure);
  else
    writeExit(out);
  writeTimes(out, finished);
  writeEvidence(out, extent);
  return message;
}

void TaskRun::finish(std::optional<Error> failure) {
  const int64_t finished = realNs();
  notePidsRefused();
  auto message = writeResult(failure, finished, Extent::whole);
  emitRefusal(failure);
  emitEnd(message->getRoot<schema::TaskResult>().asReader(), failure);
  auto events = events_->take();
  const uint64_t dropped = events_->dropped();
  const auto complete = [&](const std::vector<evidence::Event>& all) {
    auto out = message->getRoot<schema::TaskResult>();
    writeEnforcement(out, all);
    auto counters = out.initEventCounters();
    counters.setEmitted(events_->seen());
    counters.setDropped(dropped + (events.size() - all.size()));
  };
  complete(events);
  for (const Extent extent : {Extent::fewChanges, Extent::bare}) {
    if (sizeOf(*message) <= service_.resultLimit_) break;
    message = writeResult(failure, finished, extent);
    complete(extent == Extent::bare ? std::vector<evidence::Event>() : events);
  }
  auto out = message->getRoot<schema::TaskResult>();
  if (recorded_) {
    const auto words = capnp::messageToFlatArray(*message);
    const auto bytes = words.asBytes();
    const std::string_view result(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
    try {
      service_.store_.finishTask(task_->request.id, statusName(out.getStatus()), finished, result);
    } catch (const Error& e) {
      // The client still gets its result.
      const bool again = service_.finishLater(task_->request.id, statusName(out.getStatus()), finished, result);
      emit(names::kEvidenceStoreFailed, Severity::error,
           "the result of task " + task_->request.id + " is not in the store" +
               (again ? " yet: " : ", and too many others wait already for it to be tried again: ") + e.text(),
           {{"count", "1"}, {"reason", e.text()}});
    }
    service_.keepHistorySoon();
  }
  task_->finished_ = true;
  task_->pair_.fulfiller->fulfill(std::move(message));
}

}  // namespace rauha
