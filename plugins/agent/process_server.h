#pragma once
// A client's capability to one process. Many may exist for none, one or several clients; the process belongs to AgentServer.

#include <schemas/agent.capnp.h>

#include <memory>

#include "plugins/agent/process.h"

namespace rauha::agent {

class AgentServer;

class ProcessServer final : public schema::Process::Server {
 public:
  ProcessServer(AgentServer& agent, std::shared_ptr<Process> process);
  ~ProcessServer() noexcept(false);

  kj::Promise<void> start(StartContext context) override;
  kj::Promise<void> wait(WaitContext context) override;
  kj::Promise<void> died(DiedContext context) override;
  kj::Promise<void> signal(SignalContext context) override;
  kj::Promise<void> stdin(StdinContext context) override;
  kj::Promise<void> resize(ResizeContext context) override;
  kj::Promise<void> attach(AttachContext context) override;

 private:
  Task<void> runStart(StartContext context);
  Task<void> runWait(WaitContext context);
  AgentServer& agent_;
  std::shared_ptr<Process> process_;
};

}  // namespace rauha::agent
