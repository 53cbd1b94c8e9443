// rauhad: reads its options, then builds the daemon top to bottom and runs it.

#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/base/error.h"
#include "core/base/kj_error.h"
#include "core/base/log.h"
#include "core/base/version.h"
#include "core/daemon/config.h"
#include "core/daemon/daemon.h"
#include "core/daemon/instance.h"
#include "core/daemon/options.h"

namespace rauha {
namespace {

// sd_notify(3) without its library: one datagram to the socket that the service manager named.
void notifyServiceManager(const char* state) {
  const char* path = getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address.sun_path) return;
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (path[0] == '@') address.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(path));
  if (socket) sendto(socket.get(), state, strlen(state), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), size);
}

// Whoever started us waits for one line here: "ready", or why not.
void tellStarter(UniqueFd& fd, const std::string& line) {
  if (!fd) return;
  const std::string text = line + "\n";
  if (write(fd.get(), text.data(), text.size()) < 0) {
    // The starter is gone; nobody waits.
  }
  fd.reset();
}

void prepareProcess() {
  umask(0077);
  // Core dumps of the daemon would hold clients' data.
  prctl(PR_SET_DUMPABLE, 0);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (chdir("/") != 0) throwErrno("daemon", "chdir /");
}

// A daemon that is leaving cleans up its tasks first.
constexpr uint32_t kLeavingMs = 20'000;

Task<void> runDaemon(Daemon& daemon, const Instance& instance, const Config& config, UniqueFd& ready, Log& log) {
  co_await daemon.reconcile();
  UniqueFd socket = rpc::listenFromSystemd();
  const bool ours = !socket;
  if (ours) socket = rpc::listenAt(instance.runtimeDir, instance.socketName, instance.root == "/" ? config.socketGroup : "");
  auto serving = daemon.serve(std::move(socket), ours);
  notifyServiceManager("READY=1");
  tellStarter(ready, "ready");
  log.info("daemon", "ready");
  co_await kj::mv(serving);
}

int run(const Options& options, UniqueFd& ready) {
  prepareProcess();
  if (geteuid() != 0)
    throw Error("daemon", Code::denied, "rauhad runs as uid " + std::to_string(geteuid()) + ", and only root can make zones",
                "run it, or the command that starts it, with sudo");
  const Instance instance = makeInstance(options.root);
  const Config config = loadConfig(options.config.empty() ? instance.configFile : options.config, !options.config.empty());
  const UniqueFd lock = lockInstance(instance, options.onDemand ? kLeavingMs : 0);
  Log log({LogLevel::info, options.onDemand ? instance.stateDir + "/rauhad.log" : ""});
  if (options.onDemand)
    if (const std::string stayed = leaveCallersGroups(instance); !stayed.empty())
      log.warning("daemon", "stays in its caller's control groups of " + stayed);

  const Defer groups([&] {
    if (options.onDemand) removeOwnGroups(instance);
  });

  // Before any thread: the signals are blocked in all of them.
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  auto io = kj::setupAsyncIo();
  Daemon daemon(io, instance, config, log, options.onDemand);
  const auto stopOn = [&](int signal, const char* reason) {
    return io.unixEventPort.onSignal(signal)
        .then([&daemon, reason](siginfo_t) { daemon.requestShutdown(reason); })
        .eagerlyEvaluate(nullptr);
  };
  const auto onTerm = stopOn(SIGTERM, "SIGTERM"), onInt = stopOn(SIGINT, "SIGINT");
  runDaemon(daemon, instance, config, ready, log).promise().wait(io.waitScope);
  if (const size_t stuck = daemon.abandonedWorkers(); stuck > 0) {
    log.warning("daemon", "stopped with " + std::to_string(stuck) + " calls of plugins that never returned");
    if (options.onDemand) removeOwnGroups(instance);
    _exit(0);  // what they use must not be taken away under them; all that matters is written
  }
  log.info("daemon", "stopped");
  return 0;
}

}  // namespace
}  // namespace rauha

int main(int argc, char** argv) {
  rauha::UniqueFd ready;
  try {
    const auto options = rauha::parseOptions(argc, argv);
    if (!options) return 0;
    if (options->readyFd >= 0) ready = rauha::duplicate(options->readyFd), close(options->readyFd);
    return rauha::run(*options, ready);
  } catch (...) {
    const rauha::Error error = rauha::currentError();
    const std::string line = error.text() + (error.hint().empty() ? "" : "; " + error.hint());
    rauha::tellStarter(ready, "error " + line);
    fprintf(stderr, "rauhad: %s\n", line.c_str());
    return 1;
  }
}
