#include "plugins/agent/process_server.h"

#include "core/base/schema_error.h"
#include "plugins/agent/agent_server.h"

namespace rauha::agent {
namespace {

// For methods whose failure is the caller's mistake or a lost object: the Error travels encoded in the exception.
template <typename F>
kj::Promise<void> guarded(F f) {
  try {
    f();
  } catch (...) {
    return currentKj();
  }
  return kj::READY_NOW;
}

}  // namespace

ProcessServer::ProcessServer(AgentServer& agent, std::shared_ptr<Process> process) : agent_(agent), process_(std::move(process)) {}

ProcessServer::~ProcessServer() noexcept(false) { agent_.abandon(*process_); }

kj::Promise<void> ProcessServer::start(StartContext context) { return runStart(context); }

Task<void> ProcessServer::runStart(StartContext context) {
  auto results = context.getResults();
  try {
    co_await process_->start();
    results.initOutcome().setOk();
  } catch (...) {
    writeOutcome(results.initOutcome(), currentError("zone"));
  }
}

kj::Promise<void> ProcessServer::wait(WaitContext context) {
  context.allowCancellation();
  return runWait(context);
}

Task<void> ProcessServer::runWait(WaitContext context) {
  co_await agent_.finished(process_);
  agent_.writeExit(*process_, context.getResults().initExit());
}

kj::Promise<void> ProcessServer::died(DiedContext context) {
  context.allowCancellation();
  // The process must live as long as its promise, also when the client drops the handle.
  auto keep = process_;
  return process_->reaped().attach(kj::mv(keep));
}

kj::Promise<void> ProcessServer::signal(SignalContext context) {
  return guarded([&] { process_->signal(context.getParams().getNumber()); });
}

kj::Promise<void> ProcessServer::stdin(StdinContext context) {
  return guarded([&] { context.getResults().setSink(process_->takeStdin()); });
}

kj::Promise<void> ProcessServer::resize(ResizeContext context) {
  return guarded([&] { process_->resize(context.getParams().getRows(), context.getParams().getColumns()); });
}

kj::Promise<void> ProcessServer::attach(AttachContext context) {
  return guarded([&] {
    auto params = context.getParams();
    kj::Maybe<schema::ByteSink::Client> out, err;
    if (params.hasStdout()) out = params.getStdout();
    if (params.hasStderr()) err = params.getStderr();
    process_->attach(kj::mv(out), kj::mv(err));
  });
}

}  // namespace rauha::agent
