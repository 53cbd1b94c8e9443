#include "plugins/linux-common/cgroup_create.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/linux-common/cgroup_detect.h"
#include "plugins/linux-common/cgroup_file.h"
#include "plugins/linux-common/cgroup_kill.h"

namespace rauha::cgroup {
namespace {

// v1 controllers that a zone gets a group in, when they are mounted. The freezer is not among them: the v2 tree freezes.
constexpr std::string_view kV1Used[] = {"memory", "pids", "cpu", "cpuacct", "blkio", "devices"};
constexpr std::string_view kV2Used[] = {"memory", "pids", "cpu", "io"};

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

void removeTree(const std::string& path, int64_t deadlineNs);

std::vector<std::string> childGroups(const std::string& path) {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir.get())) {
    struct stat st {};
    const bool isDirectory =
        entry->d_type == DT_DIR ||
        (entry->d_type == DT_UNKNOWN && ::fstatat(::dirfd(dir.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
    if (isDirectory && entry->d_name[0] != '.') out.emplace_back(entry->d_name);
  }
  return out;
}

// Waits until a dying process may have left the group. v2 tells (cgroup.events); v1 has nothing to wait for, so it is asked again soon.
void awaitChange(const std::string& path, int64_t leftNs) {
  UniqueFd events(::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[256];
  if (events && ::read(events.get(), buffer, sizeof buffer) > 0) {
    const bool populated = valueOf(std::string_view(buffer), "populated").value_or(0) == 1;
    pollfd p{events.get(), POLLPRI, 0};
    if (populated) {
      ::poll(&p, 1, static_cast<int>(leftNs / 1'000'000) + 1);
      return;
    }
  }
  const timespec pause{0, std::min<int64_t>(leftNs, 500'000)};
  ::nanosleep(&pause, nullptr);
}

void removeGroup(const std::string& path, int64_t deadlineNs) {
  while (::rmdir(path.c_str()) != 0) {
    if (errno == ENOENT || errno == ENODEV) return;
    if (errno == ENOTEMPTY) {  // fake trees of the tests and groups with children; the kernel itself says EBUSY for both
      removeTree(path, deadlineNs);
      return;
    }
    if (errno != EBUSY) throwErrno("backend", "remove control group " + path);
    // Every process of a zone is in its v2 group, so there is rarely more to kill; a v1 group may hold one that never got that far.
    exists(path + "/cgroup.events") ? killGroup(path) : killListed(path);
    const int64_t left = deadlineNs - monotonicNs();
    if (left <= 0)
      throw Error("backend", Code::busy, "remove control group " + path + ": it still has processes",
                  "see its cgroup.procs; a process in an uninterruptible wait ends when its device answers", path);
    awaitChange(path, left);
  }
}

void removeTree(const std::string& path, int64_t deadlineNs) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return;  // as a rule: nobody makes groups in a zone's
  for (const std::string& child : childGroups(path)) removeTree(path + "/" + child, deadlineNs);
  removeGroup(path, deadlineNs);
}

std::string why(const std::string& file, int error) { return osError("backend", file, error).text(); }

// A value that cannot be written makes the whole layer missing: a limit that was asked for is not there.
struct Setter {
  Layer& layer;
  bool set(const std::string& file, const std::string& value) const {
    const int error = tryWrite(file, value);
    if (error == 0) return true;
    layer.state = Armed::missing;
    layer.reason = "write \"" + value + "\" to " + why(file, error);
    return false;
  }
};

void weaken(Layer& layer, const std::string& reason, const std::string& remedy) {
  if (layer.state == Armed::full) layer.state = Armed::partial;
  layer.reason += (layer.reason.empty() ? "" : "; ") + reason;
  if (layer.remedy.empty()) layer.remedy = remedy;
}

Layer absent(std::string name, std::string_view controller) {
  Layer out{std::move(name), Armed::missing, "no limit",
            "the " + std::string(controller) + " controller is in neither the v2 tree nor a v1 mount that we may use", ""};
  out.remedy =
      "hand the controller down to our groups (systemd: Delegate=yes; no processes in the groups above; not in the kernel's cgroup_disable=)";
  return out;
}

bool hostSwaps() {
  const std::string text = readIfPresent("/proc/swaps").value_or("");
  return std::count(text.begin(), text.end(), '\n') > 1;  // the first line is the heading
}

}  // namespace

Placement choosePlacement(const std::string& configured, const std::string& ownV2Path, const std::string& instance) {
  auto trimmed = [](std::string_view path) {
    while (path.starts_with('/')) path.remove_prefix(1);
    while (path.ends_with('/')) path.remove_suffix(1);
    return std::string(path);
  };
  if (!configured.empty()) return {trimmed(configured) + "/" + instance, ""};
  constexpr std::string_view kDelegated = ".service/daemon";
  const std::string own = trimmed(ownV2Path);
  if (!own.ends_with(kDelegated)) return {instance, ""};
  const std::string service = own.substr(0, own.size() - std::string_view("/daemon").size());
  // Two instances can share one service only in tests; the name keeps them apart there too.
  return {service + "/zones-" + instance, service};
}

std::optional<std::string> blockDeviceOf(const std::string& directory, const std::string& sys) {
  struct stat st {};
  if (::stat(directory.c_str(), &st) != 0 || major(st.st_dev) == 0) return std::nullopt;
  const std::string number = std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev));
  const std::string device = sys + "/dev/block/" + number;
  if (!exists(device)) return std::nullopt;
  if (!exists(device + "/partition")) return number;
  auto disk = readIfPresent(device + "/../dev");
  if (!disk) return std::nullopt;
  while (disk->ends_with('\n')) disk->pop_back();
  return disk;
}

GroupTree::GroupTree(Hierarchies hierarchies, Placement placement, std::string instance)
    : hierarchies_(std::move(hierarchies)), placement_(std::move(placement)), instance_(std::move(instance)) {
  if (hierarchies_.v2Root.empty())
    throw Error("backend", Code::unsupported, "no cgroup v2 tree is mounted", "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified");
  if (placement_.base.empty() || ("/" + placement_.base + "/").find("/../") != std::string::npos)
    throw Error("backend", Code::invalid, "control group path \"" + placement_.base + "\" is empty or leaves the tree",
                "name a group below the root, for example \"rauha.slice\"");
}

std::string GroupTree::v1Mount(std::string_view controller) const {
  for (const auto& [name, mount] : hierarchies_.v1)
    if (name == controller) return mount;
  return {};
}

std::vector<Member> GroupTree::membersOf(const std::string& zoneId) const {
  std::vector<Member> out{{"", v2Base() + "/" + zoneId}};
  for (const std::string_view controller : kV1Used) {
    const std::string mount = v1Mount(controller);
    if (!mount.empty()) out.push_back({std::string(controller), mount + "/" + instance_ + "/" + zoneId});
  }
  return out;
}

std::vector<Member> GroupTree::existing(const std::string& zoneId) const {
  std::vector<Member> out = membersOf(zoneId);
  std::erase_if(out, [](const Member& m) { return !exists(m.path); });
  return out;
}

std::vector<std::string> GroupTree::found() const {
  std::set<std::string> out;
  for (const Member& base : membersOf("")) {
    const auto names = childGroups(base.path);
    out.insert(names.begin(), names.end());
  }
  out.erase(
      "daemon");  // where a daemon that was started on demand keeps itself; it is not a zone, and removing a group kills what is in it
  return {out.begin(), out.end()};
}

bool GroupTree::available(std::string_view controller) const {
  return listContains(readIfPresent(v2Base() + "/cgroup.controllers").value_or(""), controller);
}

// Hands the controllers down from the first group that we may change to the base, inclusive, so that the zones' groups have them.
void GroupTree::enableControllers() const {
  std::string group = hierarchies_.v2Root + (placement_.enableBelow.empty() ? "" : "/" + placement_.enableBelow);
  std::string rest = placement_.base.substr(placement_.enableBelow.empty() ? 0 : placement_.enableBelow.size() + 1);
  for (;;) {
    const std::string offered = readIfPresent(group + "/cgroup.controllers").value_or("");
    const std::string enabled = readIfPresent(group + "/cgroup.subtree_control").value_or("");
    for (const std::string_view c : kV2Used)
      if (listContains(offered, c) && !listContains(enabled, c)) tryWrite(group + "/cgroup.subtree_control", "+" + std::string(c));
    if (rest.empty()) return;
    const size_t slash = std::min(rest.find('/'), rest.size());
    group += "/" + rest.substr(0, slash);
    rest.erase(0, slash + 1);
    if (::mkdir(group.c_str(), 0755) != 0 && errno != EEXIST) throwErrno("backend", "make control group " + group);
  }
}

void GroupTree::makeBase() {
  enableControllers();
  for (const Member& base : membersOf("")) {
    if (base.controller.empty()) continue;
    const std::string path = base.path.substr(0, base.path.size() - 1);
    if (::mkdir(path.c_str(), 0755) != 0) {
      if (errno != EEXIST) throwErrno("backend", "make control group " + path);
      continue;
    }
    // Kernels before 5.11 may still account each v1 memory group alone; ours must count its children.
    if (base.controller == "memory") tryWrite(path + "/memory.use_hierarchy", "1");
  }
}

std::vector<Member> GroupTree::make(const std::string& zoneId) {
  std::vector<Member> members = membersOf(zoneId);
  // Nobody makes a group below a base that has not handed the controllers down yet.
  const std::lock_guard held(making_);
  // Also when the base is there: who made it may have died before it did that.
  if (!prepared_) makeBase();
  prepared_ = true;
  std::vector<std::string> made;
  Defer undo([&] {
    for (auto it = made.rbegin(); it != made.rend(); ++it) ::rmdir(it->c_str());
  });
  for (const Member& m : members) {
    if (std::find(made.begin(), made.end(), m.path) != made.end()) continue;  // cpu,cpuacct in one mount
    int result = ::mkdir(m.path.c_str(), 0755);
    // Another daemon of the instance, on its way out, may have removed the base with its last zone.
    for (int attempt = 0; result != 0 && errno == ENOENT && attempt < 3; ++attempt) {
      makeBase();
      result = ::mkdir(m.path.c_str(), 0755);
    }
    if (result != 0) throwErrno("backend", "make control group " + m.path);
    made.push_back(m.path);
  }
  undo.dismiss();
  return members;
}

std::vector<Layer> GroupTree::limitOthers(const std::string& zoneId, const Limits& limits,
                                          const std::optional<std::string>& ioDevice) const {
  return {setCpu(zoneId, limits), setPids(zoneId, limits), setIo(zoneId, limits, ioDevice)};
}

std::vector<Member> GroupTree::create(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice,
                                      std::vector<Layer>& layers) {
  std::vector<Member> members = make(zoneId);
  Defer undo([&] {
    for (auto it = members.rbegin(); it != members.rend(); ++it) ::rmdir(it->path.c_str());
  });
  layers.push_back(limitMemory(zoneId, limits));
  for (Layer& layer : limitOthers(zoneId, limits, ioDevice)) layers.push_back(std::move(layer));
  undo.dismiss();
  return members;
}

void GroupTree::update(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice) {
  if (!exists(v2Base() + "/" + zoneId))
    throw Error("backend", Code::notFound, "zone " + zoneId + " has no control groups", "it is gone, or was made by another instance",
                zoneId);
  std::vector<Layer> layers;
  if (limits.cpuMillis || limits.cpuWeight) layers.push_back(setCpu(zoneId, limits));
  if (limits.memoryBytes) layers.push_back(setMemory(zoneId, limits));
  if (limits.pids) layers.push_back(setPids(zoneId, limits));
  if (limits.ioWeight || limits.ioReadBps || limits.ioWriteBps) layers.push_back(setIo(zoneId, limits, ioDevice));
  for (const Layer& layer : layers)
    if (layer.state == Armed::missing)
      throw Error("backend", Code::unsupported, layer.name + " of zone " + zoneId + " cannot be changed: " + layer.reason, layer.remedy,
                  layer.name);
}

void GroupTree::limitDevices(const std::string& zoneId, const std::vector<DeviceRule>& rules) {
  const std::string mount = v1Mount("devices");
  if (mount.empty()) {
    const std::string path = v2Base() + "/" + zoneId;
    const UniqueFd group(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!group) throwErrno("backend", "open control group " + path);
    return attachDeviceFilter(group.get(), rules);
  }
  const std::string group = mount + "/" + instance_ + "/" + zoneId;
  writeExisting(group + "/devices.deny", "a");
  for (const DeviceRule& rule : rules) writeExisting(group + "/devices.allow", deviceRuleText(rule));
}

void GroupTree::kill(const std::string& zoneId) {
  const std::string group = v2Base() + "/" + zoneId;
  if (exists(group)) killGroup(group);
}

void GroupTree::remove(const std::string& zoneId, int64_t deadlineNs) {
  for (const Member& m : membersOf(zoneId)) removeTree(m.path, deadlineNs);
}

void GroupTree::removeBase() noexcept {
  for (const Member& base : membersOf("")) ::rmdir(base.path.substr(0, base.path.size() - 1).c_str());  // fails while a zone is in it: good
}

std::string GroupTree::groupFor(const std::string& zoneId, std::string_view controller, bool& v1) const {
  const std::string mount = v1Mount(controller == "io" ? "blkio" : controller);
  v1 = !mount.empty();
  if (v1) return mount + "/" + instance_ + "/" + zoneId;
  return available(controller) ? v2Base() + "/" + zoneId : std::string();
}

Layer GroupTree::setCpu(const std::string& zoneId, const Limits& limits) const {
  bool v1 = false;
  const std::string group = groupFor(zoneId, "cpu", v1);
  if (group.empty()) return absent("cgroup_cpu", "cpu");
  Layer out{"cgroup_cpu", Armed::full, v1 ? "v1 hybrid" : "v2", "", ""};
  const Setter s{out};
  if (limits.cpuMillis) {
    // The kernel's smallest quota is 1 ms: a hundredth of a core needs a long period.
    const uint64_t period = *limits.cpuMillis >= 10 ? 100'000 : 1'000'000;
    const uint64_t quota = *limits.cpuMillis * (period / 1000);
    const std::string value = *limits.cpuMillis == 0 ? (v1 ? "-1" : "max") : std::to_string(quota);
    const bool ok = v1 ? s.set(group + "/cpu.cfs_period_us", std::to_string(period)) && s.set(group + "/cpu.cfs_quota_us", value)
                       : s.set(group + "/cpu.max", value + " " + std::to_string(period));
    if (!ok) return out;
    out.detail += *limits.cpuMillis == 0 ? ", no quota" : ", " + std::to_string(*limits.cpuMillis) + " thousandths of a core";
  }
  if (limits.cpuWeight) {
    // 1024 shares are what weight 100 is.
    const uint64_t shares = std::clamp<uint64_t>(*limits.cpuWeight * 1024 / 100, 2, 262'144);
    if (!s.set(group + (v1 ? "/cpu.shares" : "/cpu.weight"), std::to_string(v1 ? shares : *limits.cpuWeight))) return out;
    out.detail += ", weight " + std::to_string(*limits.cpuWeight);
  }
  return out;
}

Layer GroupTree::setMemory(const std::string& zoneId, const Limits& limits) const {
  bool v1 = false;
  const std::string group = groupFor(zoneId, "memory", v1);
  if (group.empty()) return absent("cgroup_memory", "memory");
  Layer out{"cgroup_memory", Armed::full, v1 ? "v1 hybrid" : "v2", "", ""};
  const Setter s{out};
  const std::string swapFile = group + (v1 ? "/memory.memsw.limit_in_bytes" : "/memory.swap.max");
  const bool swapControl = exists(swapFile);
  if (limits.memoryBytes) {
    const bool none = *limits.memoryBytes == 0;
    const std::string value = none ? (v1 ? "-1" : "max") : std::to_string(*limits.memoryBytes);
    if (v1) {
      // memsw may never be below the limit: whichever way the limit moves, one of the two orders is refused.
      const std::string limitFile = group + "/memory.limit_in_bytes";
      if (swapControl && tryWrite(swapFile, value) == 0) {
        if (!s.set(limitFile, value)) return out;
      } else if (!s.set(limitFile, value) || (swapControl && !s.set(swapFile, value))) {
        return out;
      }
    } else if (!s.set(group + "/memory.max", value)) {
      return out;
    }
    out.detail += none ? ", no limit" : ", " + value + " bytes";
  }
  if (v1) {
    tryWrite(group + "/memory.swappiness", "0");  // gone from newer kernels; memsw is what bounds
  } else {
    if (!s.set(group + "/memory.oom.group", "1")) return out;
    if (swapControl && !s.set(swapFile, "0")) return out;
  }
  if (!swapControl && hostSwaps())
    weaken(out, "the host swaps and the kernel does not limit swap per group", "boot with swapaccount=1, or turn swap off");
  return out;
}

Layer GroupTree::setPids(const std::string& zoneId, const Limits& limits) const {
  bool v1 = false;
  const std::string group = groupFor(zoneId, "pids", v1);
  if (group.empty()) return absent("cgroup_pids", "pids");
  Layer out{"cgroup_pids", Armed::full, v1 ? "v1 hybrid" : "v2", "", ""};
  if (!limits.pids) return out;
  const std::string value = *limits.pids == 0 ? "max" : std::to_string(*limits.pids);
  if (Setter{out}.set(group + "/pids.max", value)) out.detail += ", " + value;
  return out;
}

Layer GroupTree::setIo(const std::string& zoneId, const Limits& limits, const std::optional<std::string>& ioDevice) const {
  bool v1 = false;
  const std::string group = groupFor(zoneId, "io", v1);
  if (group.empty()) return absent("cgroup_io", "io");
  Layer out{"cgroup_io", Armed::full, v1 ? "v1 hybrid" : "v2", "", ""};
  const Setter s{out};
  if (!ioDevice) {
    out.state = Armed::missing;
    out.reason = "the state directory is not on a block device";
    out.remedy = "put the state directory on a disk file system";
    return out;
  }
  auto bps = [&](const std::optional<uint64_t>& limit, const char* v1File, const char* key) {
    if (!limit) return true;
    const std::string value = *limit == 0 ? (v1 ? "0" : "max") : std::to_string(*limit);
    out.detail += std::string(", ") + key + "=" + value;
    return v1 ? s.set(group + v1File, *ioDevice + " " + value) : s.set(group + "/io.max", *ioDevice + " " + key + "=" + value);
  };
  if (!bps(limits.ioReadBps, "/blkio.throttle.read_bps_device", "rbps") ||
      !bps(limits.ioWriteBps, "/blkio.throttle.write_bps_device", "wbps"))
    return out;
  if (v1) weaken(out, "cgroup v1 does not limit buffered writes", "boot with the pure v2 layout (systemd.unified_cgroup_hierarchy=1)");
  if (!limits.ioWeight) return out;
  std::string file;
  for (const std::string name : {v1 ? "/blkio.weight" : "/io.weight", v1 ? "/blkio.bfq.weight" : "/io.bfq.weight"})
    if (file.empty() && exists(group + name)) file = group + name;
  // blkio and bfq end at 1000.
  const bool narrow = v1 || file.ends_with("bfq.weight");
  const uint64_t weight = narrow ? std::clamp<uint64_t>(*limits.ioWeight, 10, 1000) : *limits.ioWeight;
  if (file.empty()) {
    if (*limits.ioWeight != 100)
      weaken(out, "no weight: the kernel has no proportional block scheduler", "use the bfq scheduler or a kernel with io.cost");
  } else if (tryWrite(file, narrow ? std::to_string(weight) : "default " + std::to_string(weight)) != 0) {
    weaken(out, "the kernel refuses weight " + std::to_string(weight), "");
  } else {
    out.detail += ", weight " + std::to_string(weight);
  }
  return out;
}

std::vector<Layer> GroupTree::probe(const std::optional<std::string>& ioDevice) const {
  // Without a base there is no list of what reaches it: what its nearest existing ancestor has can be handed down.
  std::string group = v2Base();
  while (!exists(group)) group = group.substr(0, group.rfind('/'));
  const std::string offered = readIfPresent(group + "/cgroup.controllers").value_or("");
  std::vector<Layer> out;
  for (const std::string_view c : {"cpu", "memory", "pids", "io"}) {
    const bool v1 = !v1Mount(c == "io" ? "blkio" : c).empty();
    const std::string name = "cgroup_" + std::string(c);
    if (!v1 && !listContains(offered, c)) {
      out.push_back(absent(name, c));
      continue;
    }
    Layer layer{name, Armed::full, v1 ? "v1 hybrid" : "v2", "", ""};
    if (c == "io" && !ioDevice)
      layer = {name, Armed::missing, layer.detail, "the state directory is not on a block device",
               "put the state directory on a disk file system"};
    if (c == "io" && ioDevice && v1)
      weaken(layer, "cgroup v1 does not limit buffered writes", "boot with the pure v2 layout (systemd.unified_cgroup_hierarchy=1)");
    // On v2 only a group below the root has memory.swap.max; limitMemory() finds out.
    if (c == "memory" && v1 && hostSwaps() && !exists(v1Mount(c) + "/memory.memsw.limit_in_bytes"))
      weaken(layer, "the host swaps and the kernel does not limit swap per group", "boot with swapaccount=1, or turn swap off");
    out.push_back(std::move(layer));
  }
  return out;
}

}  // namespace rauha::cgroup
