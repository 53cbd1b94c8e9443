#include "plugins/linux-common/cgroup_kill.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <sstream>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/fd.h"
#include "plugins/linux-common/cgroup_file.h"

namespace rauha::cgroup {
namespace {

constexpr int64_t kKillNs = 5'000'000'000;

std::set<pid_t> listed(const std::string& path) {
  std::set<pid_t> out;
  std::istringstream words(readIfPresent(path + "/cgroup.procs").value_or(""));
  for (pid_t pid = 0; words >> pid;)
    if (pid > 0) out.insert(pid);  // 0: a process that our pid namespace does not show
  return out;
}

// A process that was killed stays listed until it is gone; it needs no second signal.
void killRound(const std::string& path, std::set<pid_t>& done) {
  std::vector<std::pair<pid_t, UniqueFd>> open;
  for (const pid_t pid : listed(path)) {
    if (done.contains(pid)) continue;
    UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (fd) open.emplace_back(pid, std::move(fd));
  }
  const std::set<pid_t> again = listed(path);
  for (const auto& [pid, fd] : open)
    if (again.contains(pid) && syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) == 0) done.insert(pid);
}

std::vector<std::string> children(const std::string& path) {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return out;
  while (const dirent* entry = ::readdir(dir.get()))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') out.push_back(path + "/" + entry->d_name);
  return out;
}

}  // namespace

void killListed(const std::string& path) {
  for (const std::string& child : children(path)) killListed(child);
  std::set<pid_t> done;
  // A killed process cannot fork again, so each round only sees children forked before their parent's signal: it ends by itself.
  for (const int64_t deadline = monotonicNs() + kKillNs; monotonicNs() < deadline;) {
    const size_t before = done.size();
    killRound(path, done);
    if (done.size() == before) return;
  }
  throw Error("backend", Code::deadline, "control group " + path + " has new processes faster than they can be killed",
              "freeze or limit it by hand, then destroy the zone again");
}

void killGroup(const std::string& v2Path) {
  const int error = tryWrite(v2Path + "/cgroup.kill", "1");
  if (error == 0) return;
  if (error == ENODEV || ::access(v2Path.c_str(), F_OK) != 0) return;
  if (error != ENOENT && error != EOPNOTSUPP) throw osError("backend", "write " + v2Path + "/cgroup.kill", error);
  tryWrite(v2Path + "/cgroup.freeze", "1");  // a frozen group still dies of SIGKILL, but no longer forks; best effort
  killListed(v2Path);
  tryWrite(v2Path + "/cgroup.freeze", "0");
}

}  // namespace rauha::cgroup
