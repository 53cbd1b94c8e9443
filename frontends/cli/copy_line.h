#pragma once
// The line on standard error while the daemon copies a repository that it cannot mount. A terminal has one line that is written anew;
// elsewhere one at the start, one now and then, one at the end. Never with --json.
//
// Owner: the run; the capability may outlive it. Thread: the event loop. A standard error that takes nothing loses lines, never the run.

#include <schemas/common.capnp.h>

#include <memory>

namespace rauha::cli {

class CopyLine final {
 public:
  explicit CopyLine(int fd);
  ~CopyLine();
  CopyLine(const CopyLine&) = delete;
  CopyLine& operator=(const CopyLine&) = delete;
  schema::CopyProgress::Client capability();

 private:
  struct State;
  class Server;
  std::shared_ptr<State> state_;
};

}  // namespace rauha::cli
