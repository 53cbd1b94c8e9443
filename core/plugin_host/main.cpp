// rauha-plugin-host: runs one plugin in a process of its own (schemas/plugin_host.capnp). Started by rauhad only, as the first process of a
// pid namespace: that process confines the namespace, forks the one that runs the plugin, and reports how that one ended.

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/io.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/base/kj_error.h"
#include "core/base/schema_error.h"
#include "core/base/version.h"
#include "core/plugin_host/confine.h"
#include "core/plugin_host/server.h"

namespace rauha::plugin_host {
namespace {

constexpr int kSocket = 3, kFile = 4, kReports = 5;

void report(const std::function<void(schema::HostReport::Builder)>& fill) noexcept {
  try {
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<schema::HostReport>());
    capnp::writeMessageToFd(kReports, message);
  } catch (...) {  // the daemon is gone; nobody to tell
  }
}

[[noreturn]] void refuse(const Error& e) noexcept {
  report([&](schema::HostReport::Builder out) { writeError(out.initRefused(), e); });
  _exit(1);
}

// Ends with the daemon: by signal when the thread that started us ends, and here if that happened before we asked for the signal.
void tieToDaemon() {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  pollfd socket{kSocket, 0, 0};
  if (poll(&socket, 1, 0) < 0 || (socket.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) _exit(0);
}

// The daemon may be protected from the machine's out-of-memory killer; a plugin is not.
void resetOomScore() noexcept {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "0", 1) < 0) {
    // It was higher and may not be lowered: also fine.
  }
  close(fd);
}

[[noreturn]] void runPlugin(schema::HostSetup::Reader setup, std::vector<std::string> layers) {
  try {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    dropRights(setup, layers);
  } catch (...) {
    refuse(currentError("plugin"));
  }
  close(kReports);  // the plugin must not be able to speak for us
  try {
    serve(setup, std::move(layers), UniqueFd(kSocket), UniqueFd(kFile));
  } catch (...) {
    _exit(2);
  }
  _exit(0);
}

// The first process of the namespace from now on: reaps, and tells how the plugin's process ended.
[[noreturn]] void superviseAndReport(pid_t child) {
  close(kSocket);
  close(kFile);
  dropEverything();
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0 && errno == EINTR) continue;
    if (ended >= 0 && ended != child) continue;
    if (ended == child) report([status](schema::HostReport::Builder out) { out.setEnded(status); });
    _exit(0);
  }
}

[[noreturn]] void run() {
  try {
    tieToDaemon();
    resetOomScore();
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = 128 * 1024;
    capnp::StreamFdMessageReader message(kSocket, limits);
    const auto setup = message.getRoot<schema::HostSetup>();
    std::vector<std::string> layers;
    enterPrivateWorld(setup, layers);
    const pid_t child = fork();
    if (child < 0) throwErrno("plugin", "fork the plugin's process");
    if (child == 0) runPlugin(setup, std::move(layers));
    superviseAndReport(child);
  } catch (...) {
    refuse(currentError("plugin"));
  }
}

}  // namespace
}  // namespace rauha::plugin_host

int main(int argc, char** argv) {
  struct stat st {};
  const bool byHand = argc != 3 || getpid() != 1 || fstat(3, &st) != 0 || !S_ISSOCK(st.st_mode);
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return printf("rauha-plugin-host %s\n", rauha::kVersion) < 0 ? 1 : 0;
  if (byHand) {
    fprintf(stderr, "rauha-plugin-host: runs one plugin for rauhad, which starts it (isolation = \"process\" in rauha.toml)\n");
    return 125;
  }
  rauha::plugin_host::run();
}
