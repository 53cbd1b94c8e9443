#include "plugins/backend-linux/backend.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/backend-linux/boundary_message.h"
#include "plugins/backend-linux/layers.h"
#include "plugins/linux-common/cgroup_detect.h"

namespace rauha::backend {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kCreateNs = 30 * kSecond;  // when the host sets no deadline
constexpr int64_t kDestroyNs = 20 * kSecond;
constexpr int64_t kUndoNs = 10 * kSecond;  // undoing is not cut short by the caller's deadline
constexpr size_t kDiagnosticsBytes = 300;
// What zone init and its namespaces may be charged with while they wait, some times over. A limit below what is used v1 refuses, and v2
// ends zone init for it: who wants one this low gets a zone that had it from the start.
constexpr uint64_t kMostUsed = 16 << 20;

int64_t deadlineOf(const sdk::Call& call, int64_t otherwiseNs) {
  return call.deadlineNs() != 0 ? call.deadlineNs() : monotonicNs() + otherwiseNs;
}

std::string ownV2Path() { return cgroup::parseV2Path(readFile("/proc/self/cgroup")); }

IdRangeConfig idsFrom(const Config& config) {
  IdRangeConfig out;
  out.base = config.idBase;
  out.slots = config.idSlots;
  return out;
}

// The newest words of the shim's standard error, for an error text.
std::string lastWords(int fd) {
  char buffer[kDiagnosticsBytes];
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const off_t from = size > static_cast<off_t>(sizeof buffer) ? size - static_cast<off_t>(sizeof buffer) : 0;
  const ssize_t n = ::pread(fd, buffer, sizeof buffer, from);
  std::string out(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

// Through the directory's descriptor: a socket's path may have 107 bytes, a root directory of ours may be deeper.
UniqueFd connectIn(const std::string& directory, const std::string& zoneId) {
  const UniqueFd dir(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir && errno == ENOENT) throw Error("backend", Code::notFound, "zone " + zoneId + " is not on this host", "", zoneId);
  if (!dir) throwErrno("backend", "open " + directory);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throwErrno("backend", "socket for zone " + zoneId);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(dir.get()) + "/shim.sock";
  std::copy(path.begin(), path.end(), address.sun_path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      throw Error("backend", Code::notFound, "the shim of zone " + zoneId + " does not answer: it is gone", "delete the zone", zoneId);
    if (errno == EAGAIN)
      throw Error("backend", Code::busy, "the shim of zone " + zoneId + " has too many clients waiting", "try again", zoneId);
    throwErrno("backend", "connect to " + directory + "/shim.sock");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    throwErrno("backend", "credentials of the shim of zone " + zoneId);
  if (peer.uid != ::geteuid())
    throw Error(
        "backend", Code::denied,
        "the shim of zone " + zoneId + " runs as uid " + std::to_string(peer.uid) + ", and must run as " + std::to_string(::geteuid()),
        "somebody else listens on its socket", zoneId);
  return socket;
}

}  // namespace

// A zone on its way into being: what was made so far, and how each piece is unmade.
struct LinuxBackend::Building {
  ZoneSpec spec;
  std::vector<Layer> layers;
  std::string filter, noSuidFilter;
  UniqueFd diagnostics;
  ZoneRecord record;
  StartedShim shim;
  std::vector<std::pair<std::string, std::function<void()>>> undo;
};

LinuxBackend::LinuxBackend(sdk::Host host, std::string_view config, Overrides overrides)
    : host_(host),
      overrides_(std::move(overrides)),
      config_(readConfig(config)),
      instance_(host.instance()),
      stateDir_(host.stateDir()),
      runtimeDir_(host.runtimeDir()),
      shimProgram_(std::string(host.libexecDir()) + "/rauha-shim"),
      groups_(overrides_.hierarchies.value_or(cgroup::detect()), cgroup::choosePlacement(config_.cgroupParent, ownV2Path(), instance_),
              instance_),
      ids_(overrides_.ids.value_or(idsFrom(config_))),
      filters_(stateDir_ + "/plugins/backend-linux/seccomp"),
      ioDevice_(cgroup::blockDeviceOf(stateDir_)) {}

LinuxBackend::~LinuxBackend() {
  for (auto& [id, b] : prepared_) unmake(*b);
  groups_.removeBase();
}

void LinuxBackend::step(std::string_view name) const {
  if (overrides_.afterStep) overrides_.afterStep(name);
}

void LinuxBackend::makeDirectory(Building& b) {
  const std::string directory = directoryOf(b.spec.zoneId);
  int result = ::mkdir(directory.c_str(), 0700);
  if (result != 0 && errno == ENOENT) {
    if (::mkdir(zonesDirectory().c_str(), 0700) != 0 && errno != EEXIST) throwErrno("backend", "make directory " + zonesDirectory());
    result = ::mkdir(directory.c_str(), 0700);
  }
  if (result != 0 && errno == EEXIST)
    throw Error("backend", Code::exists, "zone " + b.spec.zoneId + " exists already", "destroy it first", b.spec.zoneId);
  if (result != 0) throwErrno("backend", "make directory " + directory);
  b.undo.emplace_back("directory " + directory, [directory] { std::filesystem::remove_all(directory); });
  b.diagnostics.reset(::open((directory + "/shim.log").c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!b.diagnostics) throwErrno("backend", "make " + directory + "/shim.log");
  step("directory");
}

void LinuxBackend::takeIds(Building& b) {
  if (!b.spec.hostUserNamespace) {
    b.record.hostIdBase = ids_.allocate(instance_, b.spec.zoneId);
    b.undo.emplace_back("host ids", [this, base = b.record.hostIdBase, id = b.spec.zoneId] { ids_.releaseAt(base, instance_, id); });
  }
  b.layers.push_back(userNamespaceLayer(b.spec, b.record.hostIdBase));
  step("ids");
}

void LinuxBackend::makeGroups(Building& b) {
  const std::string& id = b.spec.zoneId;
  b.record.groups = groups_.make(id);
  b.undo.emplace_back("control groups", [this, id] {
    groups_.kill(id);
    groups_.remove(id, monotonicNs() + kUndoNs);
  });
  if (b.spec.hostUserNamespace) groups_.limitDevices(id, deviceRules(b.spec));
  step("groups");
}

// Before any process, where there is the choice: v1 refuses a limit below what is used.
void LinuxBackend::limitMemory(Building& b) {
  b.layers.push_back(groups_.limitMemory(b.spec.zoneId, b.spec.limits));
  step("memory");
}

void LinuxBackend::compileFilters(Building& b) {
  const SeccompRequest request{b.spec.capabilities, b.spec.syscallDeny, b.spec.syscallAllow, b.spec.hostUserNamespace};
  b.filter = filters_.filter(request);
  if (b.spec.noSuidBits) b.noSuidFilter = filters_.noSuidFilter();
  b.layers.push_back(seccompLayer(b.spec, instructionCount(b.filter)));
  step("seccomp");
}

void LinuxBackend::requireLayers(Building& b) {
  b.layers.push_back(networkLayer(b.spec));
  std::vector<Layer> all = b.layers;
  for (Layer& layer : processLayers(b.spec)) all.push_back(std::move(layer));
  for (const std::string& name : b.spec.require) {
    const auto it = std::find_if(all.begin(), all.end(), [&](const Layer& l) { return l.name == name; });
    if (it != all.end() && it->state == Armed::full) continue;
    const std::string reason = it == all.end() ? "backend-linux has no such layer" : it->reason;
    throw Error("backend", Code::unsupported, "required layer " + name + " cannot be armed in full: " + reason,
                it == all.end() ? "" : it->remedy, name);
  }
}

// Its program is read and its libraries begin while the rest is made; what it has to build it learns in sendBoundaryOf().
void LinuxBackend::startShimOf(Building& b) {
  b.shim = startShim({shimProgram_, b.spec.zoneId, instance_, b.diagnostics.get()});
  b.undo.emplace_back("shim", [&b] { endShim(b.shim.pidfd.get(), b.shim.identity.pid, monotonicNs() + kUndoNs); });
  step("shim");
}

void LinuxBackend::sendBoundaryOf(sdk::Call& call, Building& b) {
  const std::string& id = b.spec.zoneId;
  const BoundaryParts parts{b.record.groups,
                            b.record.hostIdBase,
                            std::move(b.filter),
                            std::move(b.noSuidFilter),
                            b.spec.ephemeral ? "" : directoryOf(id) + "/shim.sock",
                            instance_};
  call.check();
  // From here on it may have processes in the groups: those and it end before the groups are removed.
  b.undo.emplace_back("processes", [this, id, &b] {
    groups_.kill(id);
    b.shim.boundary.reset();  // one that was prepared waits for it, and for nothing else
    endShim(b.shim.pidfd.get(), b.shim.identity.pid, monotonicNs() + kUndoNs);
  });
  sendBoundary(b.shim.boundary.get(), b.spec, parts);
  if (!b.spec.prepare) b.shim.boundary.reset();
  step("boundary");
}

// While the shim makes the namespaces. Until createZone() has returned, only zone init is in the groups: nothing foreign runs without them.
void LinuxBackend::setLimits(Building& b) {
  for (Layer& layer : groups_.limitOthers(b.spec.zoneId, b.spec.limits, ioDevice_)) b.layers.push_back(std::move(layer));
  step("limits");
}

// Who finds none looks for groups, claims and a shim by the zone's id.
void LinuxBackend::record(Building& b) {
  b.record.zoneId = b.spec.zoneId;
  b.record.ephemeral = b.spec.ephemeral;
  b.record.limits = b.spec.limits;
  b.record.shim = b.shim.identity;
  writeRecord(directoryOf(b.spec.zoneId), b.record);
  step("record");
}

void LinuxBackend::addGroup(rauha_zone_handle& out, const std::string& zoneId) const {
  const int fd = ::open(groups_.membersOf(zoneId).front().path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // who needs it says so
  out.flags |= RAUHA_ZONE_HANDLE_CGROUP;
  out.cgroup_fd_take = fd;
}

void LinuxBackend::unmake(Building& b) noexcept {
  for (auto it = b.undo.rbegin(); it != b.undo.rend(); ++it) {
    try {
      it->second();
    } catch (const std::exception& e) {
      host_.log(RAUHA_LOG_ERROR, "undo of " + it->first + " of zone " + b.spec.zoneId + ": " + e.what());
    }
  }
}

// What no policy has a say in.
void LinuxBackend::makeSurroundings(Building& b) {
  makeDirectory(b);
  startShimOf(b);
  takeIds(b);
  makeGroups(b);
}

void LinuxBackend::awaitBoundary(sdk::Call& call, Building& b) const {
  awaitOutcome(b.shim, {call.cancelFd(), deadlineOf(call, kCreateNs)}, [&] { return lastWords(b.diagnostics.get()); });
  step("outcome");
}

rauha_zone_handle LinuxBackend::prepareZone(sdk::Call& call, std::unique_ptr<Building> b) {
  Defer undo([&] { unmake(*b); });
  makeSurroundings(*b);
  sendBoundaryOf(call, *b);
  record(*b);
  awaitBoundary(call, *b);
  const std::lock_guard held(mutex_);
  prepared_.emplace(b->spec.zoneId, nullptr).first->second = std::move(b);
  undo.dismiss();
  rauha_zone_handle none{};
  none.agent_fd_take = none.cgroup_fd_take = -1;
  return none;
}

// What was prepared under this id, as far as it has become what is wanted now; what has not is removed.
std::unique_ptr<LinuxBackend::Building> LinuxBackend::takePrepared(const ZoneSpec& spec) {
  std::unique_ptr<Building> b;
  {
    const std::lock_guard held(mutex_);
    const auto it = prepared_.find(spec.zoneId);
    if (it == prepared_.end()) return nullptr;
    b = std::move(it->second);
    prepared_.erase(it);
  }
  pollfd ended{b->shim.pidfd.get(), POLLIN, 0};
  const bool fits = spec.ephemeral == b->spec.ephemeral && spec.hostUserNamespace == b->spec.hostUserNamespace &&
                    spec.network == b->spec.network && spec.hostname == b->spec.hostname &&
                    spec.limits.memoryBytes.value_or(kMostUsed) >= kMostUsed;
  if (fits && ::poll(&ended, 1, 0) == 0) return b;
  unmake(*b);
  return nullptr;
}

rauha_zone_handle LinuxBackend::createZone(sdk::Call& call, const rauha_zone_spec& raw, const rauha_layer_sink& sink) {
  auto made = std::make_unique<Building>();
  made->spec = readZoneSpec(raw);
  if (made->spec.prepare) return prepareZone(call, std::move(made));
  if (auto waited = takePrepared(made->spec)) {
    waited->spec = made->spec;
    try {
      return finishZone(call, *waited, true, sink);
    } catch (const Error& e) {
      // It ended while it waited, which one that is made now does not.
      if (e.code() != Code::internal && e.code() != Code::io) throw;
      host_.log(RAUHA_LOG_WARNING, "zone " + made->spec.zoneId + ", which was prepared, is made anew: " + e.what());
    }
  }
  return finishZone(call, *made, false, sink);
}

rauha_zone_handle LinuxBackend::finishZone(sdk::Call& call, Building& b, bool prepared, const rauha_layer_sink& sink) {
  Defer undo([&] { unmake(b); });
  if (!prepared) makeSurroundings(b);
  limitMemory(b);
  compileFilters(b);
  // Where the shim has nothing to build any more, everything comes first; else it builds meanwhile.
  if (!prepared) sendBoundaryOf(call, b);
  setLimits(b);
  requireLayers(b);
  record(b);
  if (prepared) sendBoundaryOf(call, b);
  awaitBoundary(call, b);
  {
    const std::lock_guard held(mutex_);
    shims_[b.spec.zoneId] = std::move(b.shim.pidfd);
  }
  undo.dismiss();
  for (const Layer& layer : b.layers) push(sink, layer);
  rauha_zone_handle out{};
  out.agent_fd_take = b.shim.agent.release();
  out.shim_pid = b.shim.identity.pid;
  out.host_id_base = b.record.hostIdBase;
  out.host_id_count = b.spec.hostUserNamespace ? 0 : kIdsPerZone;
  addGroup(out, b.spec.zoneId);
  return out;
}

rauha_zone_handle LinuxBackend::connectZone(sdk::Call&, std::string_view zoneId) {
  checkZoneId(zoneId);
  const std::string id(zoneId);
  UniqueFd agent = connectIn(directoryOf(id), id);
  const auto record = readRecord(directoryOf(id));
  rauha_zone_handle out{};
  out.agent_fd_take = agent.release();
  if (record) {
    out.shim_pid = record->shim.pid;
    out.host_id_base = record->hostIdBase;
    out.host_id_count = record->hostIdBase == 0 ? 0 : kIdsPerZone;
  }
  addGroup(out, id);
  return out;
}

void LinuxBackend::updateZone(sdk::Call&, const rauha_zone_spec& raw) {
  const ZoneSpec spec = readZoneUpdate(raw);
  groups_.update(spec.zoneId, spec.limits, ioDevice_);
  auto record = readRecord(directoryOf(spec.zoneId));
  if (!record) return;
  record->limits = cgroup::merged(record->limits, spec.limits);
  writeRecord(directoryOf(spec.zoneId), *record);
}

void LinuxBackend::endShimOf(const std::string& zoneId, const std::optional<ZoneRecord>& record, int64_t deadlineNs) {
  UniqueFd pidfd;
  pid_t pid = record ? record->shim.pid : 0;
  {
    const std::lock_guard held(mutex_);
    if (const auto it = shims_.find(zoneId); it != shims_.end()) {
      pidfd = std::move(it->second);
      shims_.erase(it);
    }
  }
  if (!pidfd && record && pid != 0) pidfd = openShim(record->shim);
  // No record, or the daemon died between the shim's start and its record; or it saw another clock, by which the start time is another.
  if (!pidfd) {
    const auto found = findShim(instance_, zoneId);
    if (!found) return;
    pid = found->pid;
    pidfd = openShim(*found);
  }
  if (!pidfd) return;
  try {
    endShim(pidfd.get(), pid, deadlineNs);
  } catch (...) {
    const std::lock_guard held(mutex_);
    shims_[zoneId] = std::move(pidfd);  // for the next attempt
    throw;
  }
}

void LinuxBackend::destroy(const std::string& zoneId, int64_t deadlineNs) {
  {
    // What was prepared waits for the rest of its boundary: with this end of the socket it ends. It is found again as any zone is.
    const std::lock_guard held(mutex_);
    prepared_.erase(zoneId);
  }
  const std::string directory = directoryOf(zoneId);
  const auto record = readRecord(directory);
  groups_.kill(zoneId);
  endShimOf(zoneId, record, deadlineNs);
  groups_.remove(zoneId, deadlineNs);  // kills what the shim started between the first kill and its end
  // Only now: nobody runs with these ids any more.
  if (record && record->hostIdBase != 0) ids_.releaseAt(record->hostIdBase, instance_, zoneId);
  if (!record) ids_.release(instance_, zoneId);
  std::filesystem::remove_all(directory);
}

void LinuxBackend::destroyZone(sdk::Call& call, std::string_view zoneId) {
  checkZoneId(zoneId);
  destroy(std::string(zoneId), deadlineOf(call, kDestroyNs));
}

void LinuxBackend::checkZone(sdk::Call&, std::string_view zoneId) {
  checkZoneId(zoneId);
  const std::string id(zoneId);
  auto conflict = [&](const std::string& what) {
    throw Error("backend", Code::conflict, "zone " + id + ": " + what, "delete the zone and make it again", id);
  };
  if (::access(directoryOf(id).c_str(), F_OK) != 0) throw Error("backend", Code::notFound, "zone " + id + " is not on this host", "", id);
  const auto record = readRecord(directoryOf(id));
  if (!record) conflict("its record " + directoryOf(id) + "/boundary.json is missing or unreadable");
  for (const cgroup::Member& m : groups_.membersOf(id))
    if (::access(m.path.c_str(), F_OK) != 0) conflict("control group " + m.path + " is gone");
  const auto differences = groups_.differences(id, record->limits);
  if (!differences.empty()) conflict(differences.front());
  if (!openShim(record->shim)) conflict("its shim, process " + std::to_string(record->shim.pid) + ", is gone");
  if (record->hostIdBase == 0) return;
  const auto claims = ids_.claims(instance_);
  const bool held =
      std::any_of(claims.begin(), claims.end(), [&](const IdClaim& c) { return c.zoneId == id && c.base == record->hostIdBase; });
  if (!held) conflict("its host ids from " + std::to_string(record->hostIdBase) + " are no longer claimed");
}

std::vector<std::string> LinuxBackend::zonesOnDisk() const {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(zonesDirectory().c_str()), ::closedir);
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir.get()))
    if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
  return out;
}

std::vector<std::string> LinuxBackend::strangers(const std::vector<std::string_view>& keep) const {
  std::set<std::string> all;
  for (const std::string& name : groups_.found()) all.insert(name);
  for (const std::string& name : zonesOnDisk()) all.insert(name);
  for (const IdClaim& claim : ids_.claims(instance_)) all.insert(claim.zoneId);
  for (const auto& [zone, identity] : findShims(instance_)) all.insert(zone);
  for (const std::string_view name : keep) all.erase(std::string(name));
  return {all.begin(), all.end()};
}

void LinuxBackend::reconcile(sdk::Call& call, const std::vector<std::string_view>& zones, const rauha_finding_sink& sink) {
  for (const std::string& id : strangers(zones)) {
    call.check();
    std::vector<std::string> objects;
    for (const cgroup::Member& m : groups_.existing(id)) objects.push_back("cgroup " + m.path);
    if (const auto shim = findShim(instance_, id)) objects.push_back("process " + std::to_string(shim->pid));
    for (const IdClaim& claim : ids_.claims(instance_))
      if (claim.zoneId == id) objects.push_back("host ids " + std::to_string(claim.base) + "+" + std::to_string(kIdsPerZone));
    if (::access(directoryOf(id).c_str(), F_OK) == 0) objects.push_back("directory " + directoryOf(id));
    std::string action = "removed";
    try {
      checkZoneId(id);
      destroy(id, monotonicNs() + kDestroyNs);
    } catch (const std::exception& e) {
      action = std::string("left: ") + e.what();
    }
    for (const std::string& object : objects) push(sink, id, object, action);
  }
}

}  // namespace rauha::backend
