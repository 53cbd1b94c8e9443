#include "plugins/backend-linux/shim/boundary.h"

#include <capnp/serialize.h>
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

std::string text(capnp::Text::Reader t) { return std::string(t.begin(), t.size()); }

std::vector<struct sock_filter> program(capnp::Data::Reader data, const char* what) {
  if (data.size() % sizeof(struct sock_filter) != 0 || data.size() / sizeof(struct sock_filter) > BPF_MAXINSNS)
    throw Error(kClass, Code::invalid, std::string("the ") + what + " of the boundary is not a seccomp program");
  std::vector<struct sock_filter> out(data.size() / sizeof(struct sock_filter));
  if (!out.empty()) std::memcpy(out.data(), data.begin(), data.size());
  return out;
}

void readZone(schema::Boundary::Reader in, agent::Zone& zone) {
  zone.id = text(in.getZoneId());
  zone.instance = text(in.getInstance());
  zone.userNamespace = in.getUserNamespace();
  zone.hostIdBase = zone.userNamespace ? in.getHostIdBase() : 0;
  zone.ownNetwork = in.getNetworkMode() != schema::NetworkMode::HOST;
  zone.seccomp = program(in.getSeccompProgram(), "seccompProgram");
  zone.seccompNoSuid = program(in.getSeccompNoSuid(), "seccompNoSuid");
  for (const auto number : in.getCapabilities()) {
    if (number > 63) throw Error(kClass, Code::invalid, "there is no capability " + std::to_string(number));
    zone.capabilities |= 1ull << number;
  }
  zone.openFiles = in.getOpenFiles() == 0 ? 1024 : in.getOpenFiles();
  zone.coreBytes = in.getCoreBytes();
  zone.landlock = in.getLandlock();
  if (zone.userNamespace && zone.seccomp.empty())
    throw Error(kClass, Code::invalid, "the boundary of zone " + zone.id + " has no seccomp program");
  if (zone.userNamespace && zone.hostIdBase < 65536)
    throw Error(kClass, Code::invalid, "the id range of zone " + zone.id + " overlaps the host's own ids");
}

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

Decisions readBoundary(int fd) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 1u << 20;
  capnp::StreamFdMessageReader message(fd, options);
  const auto in = message.getRoot<schema::Boundary>();
  Decisions d;
  readZone(in, d.zone);
  d.plan.hostname = text(in.getHostname());
  d.plan.socketPath = text(in.getSocketPath());
  d.plan.agentVersion = text(in.getAgentVersion());
  d.plan.ephemeral = in.getEphemeral();
  bool v2 = false;
  for (auto g : in.getCgroups()) {
    d.plan.groups.push_back({text(g.getController()), text(g.getPath())});
    v2 = v2 || g.getController().size() == 0;
  }
  if (!v2) throw Error(kClass, Code::invalid, "the boundary of zone " + d.zone.id + " names no group of the v2 tree");
  d.zone.pureV2 = d.plan.groups.size() == 1;
  return d;
}

UniqueFd buildBoundary(const BoundaryPlan& plan, const cgroup::ZoneGroups& groups, agent::Zone& zone) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throwErrno(kClass, "make a socket pair");
  UniqueFd mine(pair[0]), its(pair[1]);
  const UniqueFd empty =
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
  awaitAnswer(mine.get());
  zone.init = std::move(child.pidfd);
  zone.initPid = child.pid;
  if (zone.userNamespace) {
    const std::string path = "/proc/" + std::to_string(child.pid) + "/ns/user";
    zone.userNamespaceFd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!zone.userNamespaceFd) throwErrno(kClass, "open " + path);
  }
  return mine;
}

}  // namespace rauha::shim
