// The Boundary message into values, checked once.
#include <capnp/serialize.h>
#include <linux/filter.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "core/base/error.h"
#include "plugins/backend-linux/shim/boundary.h"

namespace rauha::shim {
namespace {

constexpr std::string_view kClass = "backend";

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
  if (zone.userNamespace && zone.seccomp.empty() && !in.getPrepared())
    throw Error(kClass, Code::invalid, "the boundary of zone " + zone.id + " has no seccomp program");
  if (zone.userNamespace && zone.hostIdBase < 65536)
    throw Error(kClass, Code::invalid, "the id range of zone " + zone.id + " overlaps the host's own ids");
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
  d.plan.prepared = in.getPrepared();
  bool v2 = false;
  for (auto g : in.getCgroups()) {
    d.plan.groups.push_back({text(g.getController()), text(g.getPath())});
    v2 = v2 || g.getController().size() == 0;
  }
  if (!v2) throw Error(kClass, Code::invalid, "the boundary of zone " + d.zone.id + " names no group of the v2 tree");
  d.zone.pureV2 = d.plan.groups.size() == 1;
  return d;
}

void readPolicyPart(int fd, Decisions& d) {
  Decisions next = readBoundary(fd);
  const auto made = [](const Decisions& of) {
    return std::tie(of.zone.id, of.zone.instance, of.zone.userNamespace, of.zone.hostIdBase, of.zone.ownNetwork, of.zone.landlock,
                    of.plan.hostname, of.plan.socketPath, of.plan.ephemeral);
  };
  const bool sameGroups =
      std::equal(d.plan.groups.begin(), d.plan.groups.end(), next.plan.groups.begin(), next.plan.groups.end(),
                 [](const cgroup::Member& a, const cgroup::Member& b) { return a.controller == b.controller && a.path == b.path; });
  if (made(d) != made(next) || !sameGroups || next.plan.prepared)
    throw Error(kClass, Code::invalid, "the boundary of zone " + d.zone.id + " was prepared as another one");
  d.zone.seccomp = std::move(next.zone.seccomp);
  d.zone.seccompNoSuid = std::move(next.zone.seccompNoSuid);
  d.zone.capabilities = next.zone.capabilities;
  d.zone.openFiles = next.zone.openFiles;
  d.zone.coreBytes = next.zone.coreBytes;
}

}  // namespace rauha::shim
