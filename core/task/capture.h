#pragma once
// One output stream of a task: keeps the first bytes for the result, counts all, and passes everything on to the client while it listens.
//
// The client's flow control reaches the task (a slow terminal slows it, as a pipe would); a client that is gone, or none, never blocks it.
// Owner: shared by the task and the RPC system (kj refcounting through the capability). Thread: the event loop.

#include <schemas/common.capnp.h>
#include <schemas/task.capnp.h>

#include <memory>
#include <string>

namespace rauha {

class Capture final : public schema::ByteSink::Server {
 public:
  struct State {
    std::string kept;
    uint64_t total = 0;
    uint64_t limit;
  };
  // The state is shared with the task: a shim may hold the capability longer than the task lives. `forward` may be absent.
  Capture(std::shared_ptr<State> state, kj::Maybe<schema::ByteSink::Client> forward)
      : state_(std::move(state)), forward_(kj::mv(forward)) {}
  kj::Promise<void> write(WriteContext context) override;
  kj::Promise<void> end(EndContext context) override;

 private:
  std::shared_ptr<State> state_;
  kj::Maybe<schema::ByteSink::Client> forward_;
};

void writeOutput(const Capture::State& state, schema::OutputStats::Builder stats);

}  // namespace rauha
