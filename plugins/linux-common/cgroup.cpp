#include "plugins/linux-common/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "plugins/linux-common/cgroup_file.h"
#include "plugins/linux-common/cgroup_kill.h"

namespace rauha::cgroup {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
// How long a freeze may take: a task in an uninterruptible wait delays it.
constexpr int64_t kFreezeNs = 2'000 * kMillisecond;
// Between the kernel's notice "out of memory" and its count of the kill.
constexpr int64_t kOomSettleNs = 100 * kMillisecond;

UniqueFd openGroup(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throwErrno("backend", "open control group " + path);
  return fd;
}

// The whole small file, from its start, through a descriptor that stays open: reading is also what re-arms poll on kernfs files.
std::string reread(int fd) {
  char buffer[4096];
  ssize_t n;
  do n = ::pread(fd, buffer, sizeof buffer, 0);
  while (n < 0 && errno == EINTR);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

// v1: an eventfd that the kernel signals when the group runs into its limit.
UniqueFd watchV1Oom(const std::string& path, int oomControl) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) throwErrno("backend", "eventfd for out-of-memory of " + path);
  const std::string request = std::to_string(event.get()) + " " + std::to_string(oomControl);
  if (tryWrite(path + "/cgroup.event_control", request) != 0) return {};
  return event;
}

struct IoBytes {
  uint64_t read = 0, written = 0;
};

// "254:0 rbytes=1 wbytes=2 rios=…"
IoBytes sumIoStat(const std::string& text) {
  IoBytes out;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word.starts_with("rbytes=")) out.read += std::strtoull(word.c_str() + 7, nullptr, 10);
    if (word.starts_with("wbytes=")) out.written += std::strtoull(word.c_str() + 7, nullptr, 10);
  }
  return out;
}

// "254:0 Read 123"
IoBytes sumBlkio(const std::string& text) {
  IoBytes out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, kind;
    uint64_t bytes = 0;
    if (!(words >> device >> kind >> bytes)) continue;
    if (kind == "Read") out.read += bytes;
    if (kind == "Write") out.written += bytes;
  }
  return out;
}

void addCpu(Usage& out, const std::string& v2, const std::string& cpuacct) {
  const auto user = cpuacct.empty() ? std::nullopt : readNumber(cpuacct + "/cpuacct.usage_user");
  const auto system = cpuacct.empty() ? std::nullopt : readNumber(cpuacct + "/cpuacct.usage_sys");
  if (user && system) {
    out.cpuUserUs = *user / 1000;
    out.cpuSystemUs = *system / 1000;
    return;
  }
  // The v2 tree counts processor time even where no controller is bound to it.
  const std::string stat = readIfPresent(v2 + "/cpu.stat").value_or("");
  const auto userUs = valueOf(stat, "user_usec"), systemUs = valueOf(stat, "system_usec");
  if (!userUs || !systemUs) out.partial.emplace_back("cpu: not counted by this kernel");
  out.cpuUserUs = userUs.value_or(0);
  out.cpuSystemUs = systemUs.value_or(0);
}

void addMemory(Usage& out, const std::string& v2, const std::string& v1) {
  const std::string group = v1.empty() ? v2 : v1;
  const auto peak = readNumber(group + (v1.empty() ? "/memory.peak" : "/memory.max_usage_in_bytes"));
  if (peak) {
    out.memoryPeakBytes = *peak;
  } else {
    const auto now = readNumber(group + (v1.empty() ? "/memory.current" : "/memory.usage_in_bytes"));
    out.memoryPeakBytes = now.value_or(0);
    out.partial.emplace_back(now ? "memory_peak_bytes: the kernel keeps no peak, this is the present use"
                                 : "memory_peak_bytes: no memory controller");
  }
  const std::string events = readIfPresent(group + (v1.empty() ? "/memory.events" : "/memory.oom_control")).value_or("");
  const auto kills = valueOf(events, "oom_kill");
  if (!kills) out.partial.emplace_back("oom_kills: not counted by this kernel");
  out.oomKills = kills.value_or(0);
}

void addPids(Usage& out, const std::string& v2, const std::string& v1) {
  const std::string group = v1.empty() ? v2 : v1;
  const auto peak = readNumber(group + "/pids.peak");
  if (!peak) {
    const auto now = readNumber(group + "/pids.current");
    out.partial.emplace_back(now ? "pids_peak: the kernel keeps no peak, this is the present number" : "pids_peak: no pids controller");
    out.pidsPeak = now.value_or(0);
  } else {
    out.pidsPeak = *peak;
  }
  const auto refused = valueOf(readIfPresent(group + "/pids.events").value_or(""), "max");
  if (!refused) out.partial.emplace_back("pids_refused: not counted by this kernel");
  out.pidsRefused = refused.value_or(0);
}

void addIo(Usage& out, const std::string& v2, const std::string& blkio) {
  IoBytes bytes;
  if (!blkio.empty()) {
    auto text = readIfPresent(blkio + "/blkio.throttle.io_service_bytes_recursive");
    if (!text) text = readIfPresent(blkio + "/blkio.throttle.io_service_bytes");
    if (text) bytes = sumBlkio(*text);
    out.partial.emplace_back(text ? "io_write_bytes: cgroup v1 does not attribute buffered writes" : "io: not counted by this kernel");
  } else if (const auto text = readIfPresent(v2 + "/io.stat")) {
    bytes = sumIoStat(*text);
  } else {
    out.partial.emplace_back("io: no io controller");
  }
  out.ioReadBytes = bytes.read;
  out.ioWriteBytes = bytes.written;
}

}  // namespace

ZoneGroups::ZoneGroups(std::vector<Member> members) : members_(std::move(members)) {
  const std::string v2 = pathOf("");
  if (v2.empty())
    throw Error("backend", Code::unsupported, "the zone has no group in a cgroup v2 tree",
                "mount cgroup2, for example on /sys/fs/cgroup/unified");
  v2_ = openGroup(v2);
  std::vector<std::string> seen;  // cpu and cpuacct are often one mount: enrol once
  for (const Member& m : members_) {
    if (m.controller.empty() || std::find(seen.begin(), seen.end(), m.path) != seen.end()) continue;
    seen.push_back(m.path);
    UniqueFd tasks(::open((m.path + "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
    if (!tasks) throwErrno("backend", "open " + m.path + "/tasks");
    tasks_.push_back(std::move(tasks));
  }
  const std::string v1 = pathOf("memory");
  oomControl_.reset(::open((v1.empty() ? v2 + "/memory.events" : v1 + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
  if (!oomControl_) return;
  if (v1.empty()) {
    oom_ = duplicate(oomControl_.get());
    oomEvents_ = POLLPRI;
    reread(oom_.get());  // a kernfs file polls ready until it was read once
  } else if ((oom_ = watchV1Oom(v1, oomControl_.get()))) {
    oomEvents_ = POLLIN;
  }
}

std::string ZoneGroups::pathOf(std::string_view controller) const {
  for (const Member& m : members_)
    if (m.controller == controller) return m.path;
  return {};
}

std::vector<int> ZoneGroups::v1TaskFds() const {
  std::vector<int> out;
  for (const UniqueFd& fd : tasks_) out.push_back(fd.get());
  return out;
}

Usage ZoneGroups::usage() const {
  Usage out;
  const std::string v2 = pathOf("");
  addCpu(out, v2, pathOf("cpuacct"));
  addMemory(out, v2, pathOf("memory"));
  addPids(out, v2, pathOf("pids"));
  addIo(out, v2, pathOf("blkio"));
  return out;
}

void ZoneGroups::kill() { killGroup(pathOf("")); }

void ZoneGroups::freeze(bool frozen) {
  const std::string group = pathOf("");
  const int error = tryWrite(group + "/cgroup.freeze", frozen ? "1" : "0");
  if (error != 0)
    throw osError("backend", (frozen ? "freeze " : "thaw ") + group, error, error == ENOENT ? "kernel 5.2 or newer can freeze" : "");
  if (!frozen) return;
  UniqueFd events(::openat(v2_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) throwErrno("backend", "open " + group + "/cgroup.events");
  const int64_t deadline = monotonicNs() + kFreezeNs;
  while (valueOf(reread(events.get()), "frozen") != 1u) {
    const int64_t left = deadline - monotonicNs();
    if (left <= 0) {
      tryWrite(group + "/cgroup.freeze", "0");  // a freeze that failed leaves nothing half frozen
      throw Error("backend", Code::deadline, "freeze " + group + ": processes are still running after 2 s",
                  "one of them waits in the kernel; try again");
    }
    pollfd p{events.get(), POLLPRI, 0};
    ::poll(&p, 1, static_cast<int>(left / kMillisecond) + 1);
  }
}

bool ZoneGroups::empty() const {
  UniqueFd events(::openat(v2_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) return errno == ENOENT || errno == ENODEV;
  const std::string text = reread(events.get());
  return text.empty() || valueOf(text, "populated") == 0u;
}

bool ZoneGroups::outOfMemory() const {
  if (!oomControl_) return false;
  if (valueOf(reread(oomControl_.get()), "oom_kill").value_or(0) > 0) return true;
  if (oomEvents_ != POLLIN) return false;
  uint64_t notices = 0;
  if (::read(oom_.get(), &notices, sizeof notices) != static_cast<ssize_t>(sizeof notices)) return false;
  // v1 tells us just before it kills, and has cleared "under_oom" by then: only the count says that it did.
  for (const int64_t deadline = monotonicNs() + kOomSettleNs; monotonicNs() < deadline;) {
    if (valueOf(reread(oomControl_.get()), "oom_kill").value_or(0) > 0) return true;
    const timespec pause{0, kMillisecond / 5};
    ::nanosleep(&pause, nullptr);
  }
  return false;
}

}  // namespace rauha::cgroup
