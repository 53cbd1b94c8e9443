#include "plugins/backend-linux/shim/boundary.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/error.h"
#include "plugins/agent/zone_init.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::shim {
namespace {

constexpr std::string_view kClass = "backend";
constexpr int kAnswerPatienceMs = 10000;

void writeIdMaps(pid_t pid, uint32_t base) {
  const std::string process = "/proc/" + std::to_string(pid) + "/", map = "0 " + std::to_string(base) + " 65536\n";
  writeExisting(process + "uid_map", map);
  writeExisting(process + "gid_map", map);
}

void awaitAnswer(int control) {
  struct pollfd wait = {control, POLLIN, 0};
  int r;
  do {
    r = ::poll(&wait, 1, kAnswerPatienceMs);
  } while (r < 0 && errno == EINTR);
  agent::ZoneInitAnswer answer;
  if (r <= 0 || ::read(control, &answer, sizeof answer) != static_cast<ssize_t>(sizeof answer))
    throw Error(kClass, Code::io, "zone init ended without an answer", "the zone's memory or process limit may be too small");
  if (answer.step != 0) throw osError(kClass, std::string("zone init could not ") + agent::zoneInitStepName(answer.step), answer.error);
}

}  // namespace

Lifeline beginBoundary(const BoundaryPlan& plan, const cgroup::ZoneGroups& groups, agent::Zone& zone) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throwErrno(kClass, "make a socket pair");
  UniqueFd mine(pair[0]), its(pair[1]);
  UniqueFd empty =
      sys::newMount("tmpfs", {{"size", "4096"}, {"mode", "555"}},
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, "make an empty root for zone init");
  const agent::ZoneInitSpec spec{plan.hostname,    groups.v1TaskFds(),   empty.get(),       zone.ownNetwork,
                                 plan.commandLine, plan.commandLineSize, zone.userNamespace};
  const uint64_t flags =
      CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (zone.ownNetwork ? CLONE_NEWNET : 0) | (zone.userNamespace ? CLONE_NEWUSER : 0);
  sys::Child child = sys::clone3({.flags = flags, .cgroupFd = groups.v2Fd()}, "make the namespaces of zone " + zone.id);
  if (child.pid == 0) agent::runZoneInit(spec, its.get());
  its.reset();
  if (zone.userNamespace) writeIdMaps(child.pid, zone.hostIdBase);
  writeAll(mine.get(), "m", "the control socket of zone init");
  zone.init = std::move(child.pidfd);
  zone.initPid = child.pid;
  return {std::move(mine), std::move(empty)};
}

void finishBoundary(const Lifeline& lifeline, agent::Zone& zone) {
  awaitAnswer(lifeline.control.get());
  if (!zone.userNamespace) return;
  const std::string path = "/proc/" + std::to_string(zone.initPid) + "/ns/user";
  zone.userNamespaceFd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!zone.userNamespaceFd) throwErrno(kClass, "open " + path);
}

}  // namespace rauha::shim
