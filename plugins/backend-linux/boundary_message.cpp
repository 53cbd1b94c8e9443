#include "plugins/backend-linux/boundary_message.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <schemas/boundary.capnp.h>
#include <sys/socket.h>

#include <cerrno>

#include "core/base/error.h"

namespace rauha::backend {
namespace {

capnp::Data::Reader data(const std::string& bytes) { return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()}; }

schema::NetworkMode networkOf(uint32_t mode) {
  return mode == RAUHA_NETWORK_HOST ? schema::NetworkMode::HOST : schema::NetworkMode::ISOLATED;
}

void fill(schema::Boundary::Builder out, const ZoneSpec& spec, const BoundaryParts& parts) {
  out.setZoneId(spec.zoneId);
  out.setHostname(spec.hostname);
  out.setEphemeral(spec.ephemeral);
  out.setUserNamespace(!spec.hostUserNamespace);
  out.setHostIdBase(parts.hostIdBase);
  out.setNetworkMode(networkOf(spec.network));
  auto groups = out.initCgroups(static_cast<unsigned>(parts.groups.size()));
  for (unsigned i = 0; i < groups.size(); ++i) {
    groups[i].setController(parts.groups[i].controller);
    groups[i].setPath(parts.groups[i].path);
  }
  out.setSeccompProgram(data(parts.filter));
  if (!parts.noSuidFilter.empty()) out.setSeccompNoSuid(data(parts.noSuidFilter));
  auto capabilities = out.initCapabilities(static_cast<unsigned>(spec.capabilities.size()));
  for (unsigned i = 0; i < capabilities.size(); ++i) capabilities.set(i, spec.capabilities[i]);
  out.setOpenFiles(spec.openFiles);
  out.setCoreBytes(spec.coreBytes);
  out.setLandlock(!spec.hostUserNamespace);
  if (!parts.socketPath.empty()) out.setSocketPath(parts.socketPath);
  out.setAgentVersion(RAUHA_VERSION);
  out.setMemoryBytes(spec.limits.memoryBytes.value_or(0));
  out.setInstance(parts.instance);
  out.setPrepared(spec.prepare);
}

}  // namespace

void sendBoundary(int socket, const ZoneSpec& spec, const BoundaryParts& parts) {
  capnp::MallocMessageBuilder message;
  fill(message.initRoot<schema::Boundary>(), spec, parts);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  // Two programs of the most instructions there can be are 64 KiB, a socket takes three times that at once.
  const ssize_t sent = ::send(socket, bytes.begin(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return;  // it is gone, and its outcome says why
  if (sent < 0) throwErrno("backend", "tell the shim of " + spec.zoneId + " its boundary");
  if (static_cast<size_t>(sent) != bytes.size())
    throw Error("backend", Code::limit, "the boundary of " + spec.zoneId + " has " + std::to_string(bytes.size()) + " bytes, too many",
                "make the policy's lists shorter", spec.zoneId);
}

}  // namespace rauha::backend
