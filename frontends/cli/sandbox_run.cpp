#include "frontends/cli/sandbox_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "core/base/error.h"
#include "core/base/kj_error.h"
#include "frontends/cli/progress_server.h"
#include "frontends/cli/terminal.h"

namespace rauha::cli {
namespace {

constexpr size_t kChunk = 64 * 1024;
constexpr size_t kRequestLimit = 1 << 20;
// A daemon answers a cancel at once, whatever the task does with it. One that has not for this long is stopped or hangs.
constexpr auto kSilence = 5 * kj::SECONDS;
constexpr auto kSilenceOfTwo = 2 * kj::SECONDS;  // who asks twice waits less
// After the result, the daemon's sinks should have ended; this long without a byte means that they will not.
constexpr auto kIdle = 200 * kj::MILLISECONDS;

capnp::Text::Reader textOf(const std::string& s) { return capnp::Text::Reader(s.c_str(), s.size()); }

template <typename ListBuilder>
void setAll(ListBuilder list, const std::vector<std::string>& values) {
  for (size_t i = 0; i < values.size(); ++i) list.set(static_cast<kj::uint>(i), textOf(values[i]));
}

}  // namespace

schema::RepoMode schemaOf(RepoMode mode) noexcept {
  switch (mode) {
    case RepoMode::ro:
      return schema::RepoMode::RO;
    case RepoMode::rw:
      return schema::RepoMode::RW;
    case RepoMode::overlay:
      return schema::RepoMode::OVERLAY;
    case RepoMode::none:
      break;
  }
  return schema::RepoMode::NONE;
}

// What one output stream needs; shared with the capability, which the RPC system may keep longer than the run lives.
struct SandboxRun::Sink {
  Sink(kj::AsyncIoContext& io, int fd) : output(io, fd), done(kj::newPromiseAndFulfiller<void>()) {}
  ByteOutput output;
  kj::PromiseFulfillerPair<void> done;  // ended, dropped or broken
  uint64_t progress = 0;
  bool writing = false, broken = false;
  SandboxRun* run = nullptr;  // null: the run is over
};

class SandboxRun::SinkServer final : public schema::ByteSink::Server {
 public:
  SinkServer(std::shared_ptr<Sink> sink, bool required) : sink_(std::move(sink)), required_(required) {}
  ~SinkServer() noexcept(false) { sink_->done.fulfiller->fulfill(); }
  kj::Promise<void> write(WriteContext context) override { return writeChunk(sink_, required_, context); }
  kj::Promise<void> end(EndContext) override {
    sink_->done.fulfiller->fulfill();
    return kj::READY_NOW;
  }

 private:
  static Task<void> writeChunk(std::shared_ptr<Sink> sink, bool required, WriteContext context) {
    if (sink->run != nullptr && sink->run->progress_) sink->run->progress_->finish();  // the task speaks now
    if (sink->broken) co_return;                                                       // the cancelled task's last words; nobody listens
    sink->writing = true;
    ++sink->progress;
    try {
      co_await sink->output.write(context.getParams().getChunk());
    } catch (const Error&) {
      sink->broken = true;
      sink->done.fulfiller->fulfill();
    }
    sink->writing = false;
    ++sink->progress;
    // Standard error may be closed without harm; a closed standard output means that nobody wants the task any more.
    if (sink->broken && required && sink->run != nullptr) sink->run->readerGone();
  }
  std::shared_ptr<Sink> sink_;
  bool required_;
};

SandboxRun::SandboxRun(kj::AsyncIoContext& io, Connection& connection, const SandboxOptions& options, const SandboxInputs& inputs,
                       Signals& signals)
    : io_(io),
      connection_(connection),
      options_(options),
      inputs_(inputs),
      signals_(signals),
      copyLine_(STDERR_FILENO),
      signalObserver_(kj::heap<kj::UnixEventPort::FdObserver>(io.unixEventPort, signals.fd(), kj::UnixEventPort::FdObserver::OBSERVE_READ)),
      givenUp_(kj::newPromiseAndFulfiller<void>()),
      input_(kj::READY_NOW),
      signalLoop_(kj::READY_NOW),
      goneLoop_(kj::READY_NOW) {}

SandboxRun::~SandboxRun() {
  if (out_) out_->run = nullptr;
  if (err_) err_->run = nullptr;
}

void SandboxRun::fill(schema::SandboxRequest::Builder request) const {
  request.setImage(textOf(options_.image));
  if (options_.name) request.setName(textOf(*options_.name));
  if (inputs_.policy) {
    request.setPolicyToml(textOf(inputs_.policy->toml));
    request.setPolicySource(textOf(inputs_.policy->source));
  }
  if (options_.repoMode != RepoMode::none) {
    request.setRepoMode(schemaOf(options_.repoMode));
    request.setRepo(passDescriptor(inputs_.repository.get()));
    request.setRepoPath(textOf(inputs_.repositoryPath));
    if (!inputs_.from.empty()) request.setFrom(textOf(inputs_.from));
  }
  if (inputs_.image) request.setImageSource(passDescriptor(inputs_.image.get()));
  if (options_.platform) request.setPlatform(textOf(*options_.platform));
  request.setPull(options_.pull == "always"  ? schema::PullPolicy::ALWAYS
                  : options_.pull == "never" ? schema::PullPolicy::NEVER
                                             : schema::PullPolicy::MISSING);
  if (!inputs_.credentials.empty()) request.setImageCredentials(textOf(inputs_.credentials));
  if (options_.workdir) request.setWorkdir(textOf(*options_.workdir));
  if (options_.user) request.setUser(textOf(*options_.user));
  setAll(request.initEnv(static_cast<kj::uint>(options_.env.size())), options_.env);
  setAll(request.initArgv(static_cast<kj::uint>(options_.command.size())), options_.command);
  setAll(request.initAllowDegraded(static_cast<kj::uint>(options_.allowDegraded.size())), options_.allowDegraded);
  request.setTimeoutMs(options_.timeoutMs);
  request.setKeepZone(options_.keepZone);
  request.setStdin(inputs_.stdinStream);
  if (options_.terminal) {
    const TerminalSize size = terminalSize(STDIN_FILENO);
    request.setTerminal(true);
    request.setRows(size.rows);
    request.setColumns(size.columns);
  }
  const size_t bytes = request.asReader().totalSize().wordCount * sizeof(capnp::word);
  if (bytes > kRequestLimit)
    throw Error("usage", Code::limit, "the request has " + std::to_string(bytes) + " bytes, more than " + std::to_string(kRequestLimit),
                "pass long input by standard input or a file in the repository");
}

schema::ByteSink::Client SandboxRun::sinkFor(std::shared_ptr<Sink>& sink, int fd) {
  sink = std::make_shared<Sink>(io_, fd);
  sink->run = this;
  return kj::heap<SinkServer>(sink, fd == STDOUT_FILENO);
}

kj::Maybe<SandboxRun::Result> SandboxRun::run() {
  auto work = perform().promise();
  signalLoop_ = watchSignals().promise().eagerlyEvaluate(nullptr);
  watchReader();
  work.exclusiveJoin(kj::mv(givenUp_.promise)).wait(io_.waitScope);
  return kj::mv(result_);
}

Task<void> SandboxRun::perform() {
  auto call = connection_.rauha().sandboxRequest();
  fill(call.initRequest());
  if (!options_.json) {
    call.setStdout(sinkFor(out_, STDOUT_FILENO));
    if (!options_.terminal) call.setStderr(sinkFor(err_, STDERR_FILENO));
  }
  if (!options_.json) call.setProgress(copyLine_.capability());
  call.setTrace(options_.trace);
  if (!options_.json) {
    progress_ = standardProgress(false);
    call.setImageProgress(progressServer(progress_));
  }
  auto answer = call.send();
  auto task = answer.getTask();
  auto sink = answer.getStdin();
  auto waiting = task.waitRequest().send();  // in the same write as the request
  task_ = kj::mv(task);
  auto started = co_await kj::mv(answer);
  accepted_ = true;
  taskId_ = started.getTaskId().cStr();
  zoneId_ = started.getZoneId().cStr();
  if (inputs_.stdinStream && started.hasStdin()) input_ = forwardInput(kj::mv(sink)).promise().eagerlyEvaluate([](kj::Exception&&) {});
  auto response = co_await kj::mv(waiting);
  input_ = kj::READY_NOW;
  co_await outputDrained();
  result_ = kj::mv(response);
}

// A failing write means that the task has closed its standard input or is gone: nothing to do, and nothing to say.
Task<void> SandboxRun::forwardInput(schema::ByteSink::Client sink) {
  ByteInput input(io_, STDIN_FILENO);
  auto buffer = kj::heapArray<kj::byte>(kChunk);
  for (;;) {
    const size_t n = co_await input.read(buffer.begin(), buffer.size());
    if (n == 0) break;
    auto chunk = sink.writeRequest(capnp::MessageSize{n / sizeof(capnp::word) + 16, 0});
    chunk.setChunk(buffer.slice(0, n));
    co_await chunk.send();
  }
  auto ended = co_await sink.endRequest().send();
}

Task<void> SandboxRun::watchSignals() {
  for (;;) {
    while (const auto number = signals_.next()) onSignal(*number);
    co_await signalObserver_->whenBecomesReadable();
  }
}

void SandboxRun::onSignal(int number) {
  if (number == SIGWINCH) {
    if (!options_.terminal) return;
    KJ_IF_MAYBE (task, task_) {
      const TerminalSize size = terminalSize(STDIN_FILENO);
      auto call = task->resizeRequest();
      call.setRows(size.rows);
      call.setColumns(size.columns);
      background(call.send().ignoreResult());
    }
    return;
  }
  switch (++endings_) {
    case 1:
      return cancel(number, kSilence);
    case 2:
      // The answer to the first may be on its way: an unanswered one alone does not tell a silent daemon.
      return cancel(SIGKILL, kSilenceOfTwo);
    default:
      givenUp_.fulfiller->fulfill();
  }
}

void SandboxRun::leaveSilent() {
  silent_ = true;
  givenUp_.fulfiller->fulfill();
}

void SandboxRun::cancel(int number, kj::Duration patience) {
  KJ_IF_MAYBE (task, task_) {
    auto call = task->cancelRequest();
    call.setSignal(number);
    auto heard = call.send().ignoreResult();
    auto silence = io_.provider->getTimer().afterDelay(patience).then([this]() { leaveSilent(); });
    background(heard.exclusiveJoin(kj::mv(silence)));
  }
}

void SandboxRun::readerGone() {
  if (signals_.ending() != 0) return;
  signals_.noteEnding(SIGPIPE);
  ++endings_;
  cancel(SIGTERM, kSilence);
}

void SandboxRun::watchReader() {
  kj::Promise<void> gone = kj::NEVER_DONE;
  if (options_.json) {
    jsonReader_ = kj::heap<ByteOutput>(io_, STDOUT_FILENO);
    gone = jsonReader_->whenGone();
  } else {
    gone = out_->output.whenGone();
  }
  goneLoop_ = gone.then([this]() { readerGone(); }).eagerlyEvaluate([](kj::Exception&&) {});
}

kj::Promise<void> SandboxRun::outputDrained() {
  kj::Promise<void> both = kj::READY_NOW;
  if (out_) both = kj::mv(out_->done.promise);
  if (err_) both = both.then([this]() { return kj::mv(err_->done.promise); });
  return both.exclusiveJoin(untilIdle().promise());
}

Task<void> SandboxRun::untilIdle() {
  auto progress = [](const std::shared_ptr<Sink>& sink) { return sink ? sink->progress : 0; };
  auto writing = [](const std::shared_ptr<Sink>& sink) { return sink && sink->writing; };
  for (;;) {
    const uint64_t before = progress(out_) + progress(err_);
    co_await io_.provider->getTimer().afterDelay(kIdle);
    const bool idle = before == progress(out_) + progress(err_) && !writing(out_) && !writing(err_);
    if (idle) co_return;
  }
}

// The answers do not matter: when one fails, waiting for the result fails too.
void SandboxRun::background(kj::Promise<void>&& promise) {
  calls_.add(promise.eagerlyEvaluate([](kj::Exception&&) {}));
}

}  // namespace rauha::cli
