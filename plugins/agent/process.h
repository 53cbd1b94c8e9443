#pragma once
// One process of the zone that the agent started, from "blocked before exec" to its end. Owns its descriptors and reaps it; exists until it
// is reaped, however many clients hold a capability to it. KJ, event loop's thread.

#include <schemas/agent.capnp.h>

#include <kj/async-unix.h>

#include <functional>
#include <memory>

#include "core/base/coro.h"
#include "plugins/agent/spawn.h"
#include "plugins/agent/stdio.h"

namespace rauha::agent {

// How it ended; usage is read by whoever knows the groups.
struct Ended {
  bool signaled = false;
  int number = 0;  // exit code or signal
  int64_t startedNs = 0, finishedNs = 0;
};

class Process final {
 public:
  Process(Loop loop, Spawned spawned, bool terminal, bool stdinOpen);
  ~Process() noexcept(false) {}
  KJ_DISALLOW_COPY(Process);

  // Who is told while a tree is copied for the process; before ready().
  void watchCopying(std::function<void(const Copying&)> watch) { copying_ = std::move(watch); }
  // Resolves when the process is armed and blocked; throws what went wrong (then it is dead, or dies at once).
  Task<Ready> ready();
  // Lets it exec; throws class "command" when exec fails.
  Task<void> start();
  bool started() const noexcept { return started_; }
  // Dead and reaped. Forked: any number of waiters.
  kj::Promise<void> reaped() { return reaped_.addBranch(); }
  bool alive() const noexcept { return alive_; }
  // After reaped(): its output is delivered, see OutputPump::drain.
  kj::Promise<void> drained();
  const Ended& ended() const noexcept { return ended_; }

  void signal(int number);
  void resize(uint16_t rows, uint16_t columns);
  schema::ByteSink::Client takeStdin();
  void attach(kj::Maybe<schema::ByteSink::Client> out, kj::Maybe<schema::ByteSink::Client> err);

  pid_t pid() const noexcept { return spawned_.pid; }
  int pidfd() const noexcept { return spawned_.pidfd.get(); }
  int ruleset() const noexcept { return ruleset_.get(); }
  // Of the plan's overlay mounts, in the plan's order; complete after ready().
  std::vector<UniqueFd> takeWritableLayers() noexcept { return std::move(writableLayers_); }

 private:
  Task<std::string> nextReport();
  Task<void> reap();
  void takeTerminal(UniqueFd master);

  Loop loop_;
  Spawned spawned_;
  bool terminal_, stdinOpen_, started_ = false, alive_ = true;
  Ended ended_;
  UniqueFd ruleset_, master_;
  std::function<void(const Copying&)> copying_;
  std::vector<UniqueFd> writableLayers_;
  kj::UnixEventPort::FdObserver controlEvents_, deathEvents_;
  std::unique_ptr<OutputPump> out_, err_;
  kj::ForkedPromise<void> reaped_;
};

}  // namespace rauha::agent
