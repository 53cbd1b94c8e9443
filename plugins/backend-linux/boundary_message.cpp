#include "plugins/backend-linux/boundary_message.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <schemas/boundary.capnp.h>
#include <sys/mman.h>
#include <unistd.h>

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
}

}  // namespace

UniqueFd writeBoundary(const ZoneSpec& spec, const BoundaryParts& parts) {
  capnp::MallocMessageBuilder message;
  fill(message.initRoot<schema::Boundary>(), spec, parts);
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  UniqueFd fd(::memfd_create("rauha-boundary", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throwErrno("backend", "memfd for the boundary of " + spec.zoneId);
  writeAll(fd.get(), {reinterpret_cast<const char*>(bytes.begin()), bytes.size()}, "boundary of " + spec.zoneId);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    throwErrno("backend", "seal the boundary of " + spec.zoneId);
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) throwErrno("backend", "rewind the boundary of " + spec.zoneId);
  return fd;
}

}  // namespace rauha::backend
