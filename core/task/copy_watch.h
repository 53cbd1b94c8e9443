#pragma once
// While the agent copies a repository that cannot be mounted: passes its reports on to the client, makes an event of the first one and one
// every ten seconds, and says when it was last heard, so that a copy may take as long as it goes on.
//
// Owner: the TaskRun and the capability that the agent has; the capability may outlive the run. Thread: the event loop.

#include <schemas/common.capnp.h>

#include <functional>
#include <memory>

namespace rauha {

class CopyWatch final {
 public:
  struct Report {
    uint64_t files = 0, bytes = 0;
    bool done = false;
  };
  using Tell = std::function<void(const Report&)>;
  // client: who looks, if anybody. tell: for the event; called only while the CopyWatch lives.
  CopyWatch(kj::Maybe<schema::CopyProgress::Client> client, Tell tell);
  ~CopyWatch();
  CopyWatch(const CopyWatch&) = delete;
  CopyWatch& operator=(const CopyWatch&) = delete;
  // For the agent.
  schema::CopyProgress::Client capability() const;
  // CLOCK_MONOTONIC of the last report; 0: none.
  int64_t heardNs() const noexcept;

 private:
  struct State;
  class Server;
  std::shared_ptr<State> state_;
};

}  // namespace rauha
