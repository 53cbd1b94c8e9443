// prepareRoot: the half of building a root that happens in the agent, before the container process exists.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/base/error.h"
#include "plugins/agent/rootfs.h"
#include "plugins/agent/scratch.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

UniqueFd copyMount(const Source& source, const std::vector<UniqueFd>& descriptors, bool recursive, const std::string& what) {
  if (source.descriptor < 0) return sys::cloneMount(AT_FDCWD, source.path.c_str(), recursive, what);
  try {
    return sys::cloneMount(descriptors.at(static_cast<size_t>(source.descriptor)).get(), "", recursive, what);
  } catch (const Error& e) {
    if (e.code() != Code::invalid) throw;
    throw Error("repository", Code::unsupported, what + ": the directory belongs to another mount namespace than the daemon's",
                "run the client where the daemon runs, not inside a container");
  }
}

bool missing(const Error& e) { return e.code() == Code::notFound; }

PreparedDevice prepareDevice(const DevicePlan& plan) {
  struct stat st;
  if (::lstat(plan.path.c_str(), &st) != 0) throwErrno("zone", "device " + plan.path);
  if (!S_ISCHR(st.st_mode)) throw Error("zone", Code::denied, "device " + plan.path + " is not a character device", {}, plan.path);
  return {plan.path, st.st_rdev, plan.read, plan.write};
}

}  // namespace

PreparedRoot prepareRoot(const RootPlan& plan, const std::vector<UniqueFd>& descriptors) {
  PreparedRoot out;
  for (const auto& layer : plan.layers) out.layers.push_back(copyMount(layer, descriptors, false, "layer " + layer.name()));
  out.binds.resize(plan.mounts.size());
  out.isDirectory.resize(plan.mounts.size());
  out.lowers.resize(plan.mounts.size());
  for (size_t i = 0; i < plan.mounts.size(); ++i) {
    const MountPlan& m = plan.mounts[i];
    if (m.kind != MountPlan::Kind::bind) continue;
    try {
      // Mounts below an id-mapped tree stay out: what lies under them is the owner's own, and each would have to be mappable.
      out.binds[i] = copyMount(m.source, descriptors, m.source.mapping == Mapping::none, "mount of " + m.source.name() + " at " + m.target);
    } catch (const Error& e) {
      if (m.optional && missing(e)) continue;
      throw;
    }
    struct stat st;
    if (::fstat(out.binds[i].get(), &st) != 0) throwErrno("zone", "stat " + m.source.name());
    out.isDirectory[i] = S_ISDIR(st.st_mode);
    if (m.overlay && !out.isDirectory[i])
      throw Error("repository", Code::invalid, m.source.name() + " for " + m.target + " is not a directory", {}, m.target);
    for (const auto& l : m.lower) out.lowers[i].push_back(copyMount(l, descriptors, false, "layer " + l.name() + " of " + m.target));
  }
  for (const auto& d : plan.devices) out.devices.push_back(prepareDevice(d));
  if (plan.needsScratch() && plan.scratch == Scratch::disk) {
    DiskScratch disk = makeDiskScratch(plan.scratchDirectory, plan.scratchBytes);
    out.scratchDevice = std::move(disk.device);
    out.scratchLoop = std::move(disk.loop);
  }
  return out;
}

}  // namespace rauha::agent
