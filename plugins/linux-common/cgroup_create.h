#pragma once
// Makes, limits and removes the control groups of an instance's zones. Used by the backend, on the privileged side.
//
// v2 tree: <v2 mount>/<base>/<zone id>, a leaf that holds the zone's processes; <base> hands the controllers down and holds none.
// v1 controllers (hybrid): <controller mount>/<instance>/<zone id>. Every name carries the instance, so that instances never meet.
// A GroupTree holds no kernel object; calls for different zones may run at once, calls for one zone may not.
// Errors: rauha::Error of class "backend".

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plugins/linux-common/cgroup.h"
#include "plugins/linux-common/device_filter.h"
#include "plugins/linux-common/layer.h"

namespace rauha::cgroup {

// What a zone may use. Absent: no limit when the groups are made, unchanged when they are updated. 0 in an update means "no limit any
// more".
struct Limits {
  std::optional<uint64_t> cpuMillis;    // 1000 = one core
  std::optional<uint64_t> cpuWeight;    // 1..10000, 100 is the kernel's default
  std::optional<uint64_t> memoryBytes;  // swap is never added
  std::optional<uint64_t> pids;
  std::optional<uint64_t> ioWeight;  // 1..10000, 100 default
  std::optional<uint64_t> ioReadBps, ioWriteBps;
};

// `now` with what `change` gives; a limit changed to 0 is absent.
Limits merged(const Limits& now, const Limits& change);

// Where the instance's groups live in the v2 tree.
struct Placement {
  std::string base;         // below the v2 mount, no leading slash: "rauha", "system.slice/rauhad.service/zones"
  std::string enableBelow;  // first group, below the mount, whose subtree_control may be written; "" is the root of the tree
};
// configured: the operator's `cgroup_parent` or ""; the instance's name is a group below it, so that instances can share it. ownV2Path: of
// the calling process, as in /proc/self/cgroup. A daemon that sits in
// "<x>.service/daemon" was given <x>.service to manage (systemd Delegate=); else the base is the instance's name at the root.
Placement choosePlacement(const std::string& configured, const std::string& ownV2Path, const std::string& instance);

// "major:minor" of the disk behind the directory, as io.max and blkio want it (the whole disk, never a partition); nullopt when the file
// system has none (tmpfs, overlay, network). sys: where sysfs is.
std::optional<std::string> blockDeviceOf(const std::string& directory, const std::string& sys = "/sys");

class GroupTree final {
 public:
  GroupTree(Hierarchies hierarchies, Placement placement, std::string instance);

  // Makes the zone's groups, without limits. On failure nothing of the zone is left. Code::exists when a group is there already.
  std::vector<Member> make(const std::string& zoneId);
  // Sets the limits of groups that were just made, as layers cgroup_memory, cgroup_cpu, cgroup_pids and cgroup_io: a limit that cannot be
  // set is a layer that is not full, and the caller decides whether that is an error. ioDevice: of blockDeviceOf. WARNING: memory goes
  // first, while nothing is in the groups: v1 refuses a limit below what is used already, and what should have been too small for zone init
  // would be no limit at all. The others hold for processes that are there, too.
  Layer limitMemory(const std::string& zoneId, const Limits& limits) const { return setMemory(zoneId, limits); }
  std::vector<Layer> limitOthers(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice) const;
  // Both; the layers are appended. On failure nothing of the zone is left.
  std::vector<Member> create(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice,
                             std::vector<Layer>& layers);
  // Sets limits on a living zone; throws when one cannot be set (those set before it stay).
  void update(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice);
  // Leaves only these devices usable to the zone. Throws when neither the v1 controller nor a filter program can see to it.
  void limitDevices(const std::string& zoneId, const std::vector<DeviceRule>& rules);
  // SIGKILL to every process of the zone; all are in its v2 group.
  void kill(const std::string& zoneId);
  // Removes the zone's groups, killing what is still in them and waiting for it until the deadline (CLOCK_MONOTONIC). Idempotent.
  // Code::busy names the group that still has processes.
  void remove(const std::string& zoneId, int64_t deadlineNs);
  // Removes the instance's own groups if no zone is in them.
  void removeBase() noexcept;

  // The zone's groups as they are named on this machine, whether they exist or not; the v2 group first.
  std::vector<Member> membersOf(const std::string& zoneId) const;
  // Those of them that exist.
  std::vector<Member> existing(const std::string& zoneId) const;
  // Limits that the kernel no longer has as they were set, one line each.
  std::vector<std::string> differences(const std::string& zoneId, const Limits& limits) const;
  // Names of the groups found below the instance's groups in any hierarchy.
  std::vector<std::string> found() const;
  // What the limits are worth on this machine, nothing being made: the same four layers as create().
  std::vector<Layer> probe(const std::optional<std::string>& ioDevice) const;
  const Hierarchies& hierarchies() const noexcept { return hierarchies_; }
  std::string v2Base() const { return hierarchies_.v2Root + "/" + placement_.base; }

 private:
  void makeBase();
  void enableControllers() const;
  bool available(std::string_view controller) const;
  Layer setCpu(const std::string& zoneId, const Limits&) const;
  Layer setMemory(const std::string& zoneId, const Limits&) const;
  Layer setPids(const std::string& zoneId, const Limits&) const;
  Layer setIo(const std::string& zoneId, const Limits&, const std::optional<std::string>& ioDevice) const;
  std::string groupFor(const std::string& zoneId, std::string_view controller, bool& v1) const;
  std::string v1Mount(std::string_view controller) const;

  Hierarchies hierarchies_;
  Placement placement_;
  std::string instance_;
  std::mutex making_;
  bool prepared_ = false;  // the base was made, with its controllers, since we started
};

}  // namespace rauha::cgroup
