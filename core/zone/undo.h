#pragma once
// The way back of something that is built in steps: each step that succeeded pushes its undo; on failure they run in reverse order.
// An undo that fails does not stop the others; what it said is collected. Thread: the event loop.

#include <functional>
#include <string>
#include <vector>

#include "core/base/coro.h"

namespace rauha {

class Undo final {
 public:
  using Step = std::function<kj::Promise<void>()>;
  void push(std::string what, Step step) { steps_.push_back({std::move(what), std::move(step)}); }
  // Everything stands: there is nothing to go back to.
  void dismiss() { steps_.clear(); }
  // Runs and forgets all steps; returns "what: why" of each that failed.
  Task<std::vector<std::string>> run();

 private:
  struct Entry {
    std::string what;
    Step step;
  };
  std::vector<Entry> steps_;
};

}  // namespace rauha
