#pragma once
// One sandbox task over one connection: the request, the streams in both directions, the signals, and the result.
//
// Signals: the first that asks us to end cancels the task with that signal and waits for its result; the second kills it; the third gives
// up waiting. A daemon that does not even take the cancel is not waited for: five seconds after the first, two after the second. A
// reader of our standard output that goes away cancels it too. Standard input is read only after the daemon has taken the
// request, and no longer than the task runs.
//
// Owner: sandbox_command. Thread: the event loop's. Must be destroyed before its connection.

#include <kj/async-io.h>
#include <schemas/client.capnp.h>

#include <memory>

#include "core/base/coro.h"
#include "frontends/cli/byte_stream.h"
#include "frontends/cli/connection.h"
#include "frontends/cli/copy_line.h"
#include "frontends/cli/image_progress.h"
#include "frontends/cli/inputs.h"
#include "frontends/cli/sandbox_options.h"
#include "frontends/cli/signals.h"

namespace rauha::cli {

schema::RepoMode schemaOf(RepoMode mode) noexcept;

// What was opened for the request; outlives every attempt.
struct SandboxInputs {
  UniqueFd repository, image;
  std::string repositoryPath;  // absolute where the system tells it; for the record, and for who asks for the task later
  std::string from;            // id of the task to go on from; empty: none
  std::optional<PolicyText> policy;
  std::string credentials;   // for the image's registry; empty: none
  bool stdinStream = false;  // false: standard input is closed or /dev/null
};

class SandboxRun final {
 public:
  using Result = capnp::Response<schema::TaskHandle::WaitResults>;

  SandboxRun(kj::AsyncIoContext& io, Connection& connection, const SandboxOptions& options, const SandboxInputs& inputs, Signals& signals);
  ~SandboxRun();

  // The result; nothing when the third signal came first, or the daemon is silent. Exceptions of the RPC system pass through.
  kj::Maybe<Result> run();
  // Did the daemon take the request? Then it must not be sent again.
  bool accepted() const noexcept { return accepted_; }
  // Empty until then.
  const std::string& taskId() const noexcept { return taskId_; }
  const std::string& zoneId() const noexcept { return zoneId_; }
  // Did it leave because the daemon did not take a cancel?
  bool silent() const noexcept { return silent_; }

 private:
  struct Sink;
  class SinkServer;

  void fill(schema::SandboxRequest::Builder request) const;
  Task<void> perform();
  Task<void> forwardInput(schema::ByteSink::Client sink);
  Task<void> watchSignals();
  void onSignal(int number);
  void cancel(int number, kj::Duration patience);
  void leaveSilent();
  void readerGone();
  void watchReader();
  schema::ByteSink::Client sinkFor(std::shared_ptr<Sink>& sink, int fd);
  kj::Promise<void> outputDrained();
  Task<void> untilIdle();
  void background(kj::Promise<void>&& promise);

  kj::AsyncIoContext& io_;
  Connection& connection_;
  const SandboxOptions& options_;
  const SandboxInputs& inputs_;
  Signals& signals_;
  std::shared_ptr<ProgressView> progress_;  // of an image that is fetched
  std::shared_ptr<Sink> out_, err_;
  CopyLine copyLine_;
  kj::Own<ByteOutput> jsonReader_;  // with --json: only watches whether somebody still wants the document
  kj::Own<kj::UnixEventPort::FdObserver> signalObserver_;
  kj::Maybe<schema::TaskHandle::Client> task_;
  kj::Maybe<Result> result_;
  int endings_ = 0;  // signals that asked us to end
  bool accepted_ = false, silent_ = false;
  std::string taskId_, zoneId_;
  kj::PromiseFulfillerPair<void> givenUp_;
  kj::Promise<void> input_, signalLoop_, goneLoop_;
  kj::Vector<kj::Promise<void>> calls_;
};

}  // namespace rauha::cli
