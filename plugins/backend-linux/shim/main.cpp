// rauha-shim: one per namespace zone. Reads the Boundary (descriptor 3), builds it, reports on descriptor 5, then serves the agent protocol
// on descriptor 4 until it is told to end or, for an ephemeral zone, until the client is gone. It stays outside the zone's control groups
// and user namespace; with it dies the zone. Single-threaded, statically linked.
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/base/error.h"
#include "core/base/schema_error.h"
#include "plugins/agent/agent_server.h"
#include "plugins/backend-linux/shim/boundary.h"
#include "plugins/backend-linux/shim/listener.h"
#include "plugins/linux-common/syscalls.h"

namespace {

constexpr int kBoundaryFd = 3, kAgentFd = 4, kOutcomeFd = 5;

void report(const rauha::Error* error) {
  capnp::MallocMessageBuilder message;
  auto outcome = message.initRoot<rauha::schema::Outcome>();
  if (error != nullptr)
    rauha::writeOutcome(outcome, *error);
  else
    outcome.setOk();
  capnp::writeMessageToFd(kOutcomeFd, message);
}

// Descriptors 0 to 2 exist and lead nowhere, 3 to 5 are closed on exec, everything else is gone; nothing of the daemon's surroundings is
// left.
void shedSurroundings() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (::open("/dev/null", O_RDWR) != fd) throw rauha::Error("backend", rauha::Code::io, "descriptors 0 to 2 cannot be opened");
  }
  if (rauha::sys::closeRangeRaw(kOutcomeFd + 1, ~0u, 0) != 0) rauha::throwErrno("backend", "close inherited descriptors");
  for (int fd : {kBoundaryFd, kAgentFd, kOutcomeFd})
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) rauha::throwErrno("backend", "descriptor " + std::to_string(fd) + " was not handed over");
  for (char** e = environ; e != nullptr && *e != nullptr; ++e)
    std::memset(*e, 0, std::strlen(*e));  // /proc/<pid>/environ shows this memory
  ::clearenv();
  ::umask(077);
  if (::chdir("/") != 0) rauha::throwErrno("backend", "chdir /");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) rauha::throwErrno("backend", "hide the shim's memory");
  ::setsid();  // fails only for a group leader, which is apart from the daemon already
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    (void)!::write(score, "-900", 4);  // needs CAP_SYS_RESOURCE; without it the kernel's own choice stands
    ::close(score);
  }
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  for (int n : {SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) ::sigaction(n, &ignore, nullptr);
}

// The memory behind argv, one piece. The shim keeps its own, by which the backend finds it again; zone init blanks its copy.
void rememberCommandLine(int argc, char** argv, rauha::shim::BoundaryPlan& plan) {
  if (argc < 1) return;
  plan.commandLine = argv[0];
  plan.commandLineSize = static_cast<size_t>(argv[argc - 1] + std::strlen(argv[argc - 1]) - argv[0]);
}

kj::Promise<void> terminated(kj::UnixEventPort& port) {
  return port.onSignal(SIGTERM).then([](siginfo_t&&) {});
}

[[noreturn]] void serve(rauha::shim::Decisions decisions) {
  rauha::cgroup::ZoneGroups groups(decisions.plan.groups);
  // What was born of it must not stay. Should that fail, it dies with us, and the backend kills it as well.
  rauha::Defer undo([&groups] {
    try {
      groups.kill();
    } catch (const std::exception&) {
    }
  });
  const auto lifeline = rauha::shim::beginBoundary(decisions.plan, groups, decisions.zone);
  kj::UnixEventPort::captureSignal(SIGTERM);
  auto io = kj::setupAsyncIo();
  auto server = kj::heap<rauha::agent::AgentServer>(rauha::agent::Loop{io.unixEventPort, io.provider->getTimer()}, decisions.zone, groups,
                                                    decisions.plan.agentVersion);
  auto& agent = *server;
  rauha::schema::Agent::Client client = kj::mv(server);
  rauha::shim::finishBoundary(lifeline, decisions.zone);
  if (decisions.plan.prepared) {
    report(nullptr);
    rauha::shim::readPolicyPart(kBoundaryFd, decisions);  // the end of the socket instead: nobody needs it
    struct pollfd ended = {decisions.zone.init.get(), POLLIN, 0};
    if (::poll(&ended, 1, 0) != 0) throw rauha::Error("backend", rauha::Code::io, "zone init ended while the boundary waited");
  }
  ::close(kBoundaryFd);
  undo.dismiss();
  // Both outlive the wait below: what a connection still has to say when the zone ends is said.
  kj::Promise<void> listening = kj::READY_NOW;
  if (!decisions.plan.socketPath.empty())
    listening = rauha::shim::serveListener(io, decisions.plan.socketPath, client).eagerlyEvaluate([](kj::Exception&&) {});
  report(nullptr);
  ::close(kOutcomeFd);
  auto first = rauha::shim::serveFirst(io, kAgentFd, client).then([] {}, [](kj::Exception&&) {}).fork();
  auto end = terminated(io.unixEventPort).exclusiveJoin(agent.whenShutdown());
  if (decisions.plan.ephemeral) end = end.exclusiveJoin(first.addBranch());
  end.wait(io.waitScope);
  agent.kill().wait(io.waitScope);
  kj::evalLast([] {}).wait(io.waitScope);  // answers that are ready (of `shutdown`) go out first
  // What is left to free goes with the process, and the zone's removal waits for it.
#ifdef __SANITIZE_ADDRESS__
  std::exit(0);  // where leaks are looked for
#else
  std::_Exit(0);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  // Nobody but the backend starts it, with what it needs in descriptors.
  if (::fcntl(kBoundaryFd, F_GETFD) < 0 && errno == EBADF) {
    std::fputs("rauha-shim is started by rauhad, one for each zone; it takes no options and does nothing by itself\n", stderr);
    return 125;
  }
  try {
    shedSurroundings();
    auto decisions = rauha::shim::readBoundary(kBoundaryFd);
    rememberCommandLine(argc, argv, decisions.plan);
    serve(std::move(decisions));
  } catch (...) {
    const rauha::Error error = rauha::currentError("backend");
    try {
      report(&error);
    } catch (...) {
      return 125;  // nobody listens any more
    }
    return 1;
  }
}
