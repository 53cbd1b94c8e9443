#include "core/daemon/instance.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/error.h"

namespace rauha {
namespace {

void makeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) return;
  if (errno != EEXIST) throwErrno("daemon", "make directory " + path);
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) throwErrno("daemon", "stat " + path);
  if (!S_ISDIR(st.st_mode)) throw Error("daemon", Code::conflict, path + " is not a directory", "remove it, or choose another --root");
  if (st.st_uid != geteuid())
    throw Error("daemon", Code::denied, path + " belongs to uid " + std::to_string(st.st_uid) + ", not to uid " + std::to_string(geteuid()),
                "chown it, or choose another --root");
  if ((st.st_mode & 0022) != 0) throw Error("daemon", Code::denied, path + " is writable by group or others", "chmod go-w " + path);
}

std::string programDirectory() {
  char buffer[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", buffer, sizeof buffer);
  if (n <= 0) throwErrno("daemon", "readlink /proc/self/exe");
  return std::filesystem::path(std::string(buffer, static_cast<size_t>(n))).parent_path().string();
}

}  // namespace

Instance makeInstance(const std::string& root) {
  Instance instance;
  if (root.empty() || root == "/") {
    instance.name = "rauha";
    instance.root = "/";
    instance.stateDir = "/var/lib/rauha";
    instance.runtimeDir = "/run/rauha";
    instance.configFile = "/etc/rauha/rauha.toml";
    makeDirectory(instance.stateDir, 0700);
    makeDirectory(instance.runtimeDir, 0755);
  } else {
    if (mkdir(root.c_str(), 0700) != 0 && errno != EEXIST) throwErrno("daemon", "make directory " + root);
    char real[PATH_MAX];
    if (realpath(root.c_str(), real) == nullptr) throwErrno("daemon", "resolve --root " + root);
    instance.root = real;
    makeDirectory(instance.root, 0700);  // it is there: whoever could rename what is in it could have us remove or run what they like
    instance.name = "rauha-" + sha256(instance.root).substr(7, 8);
    instance.stateDir = instance.root + "/state";
    instance.runtimeDir = instance.root + "/run";
    instance.configFile = instance.root + "/rauha.toml";
    makeDirectory(instance.stateDir, 0700);
    makeDirectory(instance.runtimeDir, 0700);
  }
  makeDirectory(instance.stateDir + "/plugins", 0700);
  makeDirectory(instance.stateDir + "/zones", 0700);
  makeDirectory(instance.runtimeDir + "/zones", 0700);
  const std::string here = programDirectory();
  instance.pluginDir = std::filesystem::path(here).parent_path().string() + "/lib/rauha/plugins";
  const std::string libexec = std::filesystem::path(here).parent_path().string() + "/libexec/rauha";
  instance.libexecDir = access((libexec + "/rauha-shim").c_str(), X_OK) == 0 ? libexec : here;
  return instance;
}

UniqueFd lockInstance(const Instance& instance, uint32_t patienceMs) {
  const std::string path = instance.runtimeDir + "/rauhad.lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) throwErrno("daemon", "open " + path);
  bool locked = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
  // flock(2) knows no time limit but a signal's; looking again is simpler and safe.
  for (const int64_t end = monotonicNs() + int64_t{patienceMs} * 1'000'000; !locked && monotonicNs() < end;) {
    poll(nullptr, 0, 20);
    locked = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
  }
  if (!locked) {
    std::string pid = readAll(lock.get(), path, 64);
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    throw Error("daemon", Code::busy, "another rauhad (pid " + pid + ") serves " + instance.root,
                "use it, stop it with `rauha daemon stop`, or choose another --root", instance.root);
  }
  if (ftruncate(lock.get(), 0) != 0) throwErrno("daemon", "truncate " + path);
  writeAll(lock.get(), std::to_string(getpid()) + "\n", path);
  return lock;
}

namespace {
struct GroupMount {
  std::string target, group;
  bool v2;
};

bool enter(const std::string& parent, const std::string& leaf, const char* file) {
  if ((mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) || (mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST)) return false;
  try {
    writeExisting(leaf + file, "0");
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Each control group mount that we use, with the group that is ours there.
std::vector<GroupMount> groupMounts(const Instance& instance) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  std::vector<GroupMount> out;
  while (std::getline(mounts, line)) {
    const bool v2 = line.find(" - cgroup2 ") != std::string::npos;
    if (!v2 && line.find(" - cgroup ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skip, target;
    for (int i = 0; i < 4; ++i) fields >> skip;
    fields >> target;
    // cpuset groups start without cpus and refuse members; the service manager's own hierarchy is not ours.
    if (!v2 && (target.find("cpuset") != std::string::npos || line.find("name=") != std::string::npos)) continue;
    out.push_back({target, target + "/" + instance.name, v2});
  }
  return out;
}

}  // namespace

std::string leaveCallersGroups(const Instance& instance) {
  std::string stayed;
  for (const auto& mount : groupMounts(instance))
    // `tasks` is quick on v1 and we are still single-threaded here; v2 has only cgroup.procs.
    if (!enter(mount.group, mount.group + "/daemon", mount.v2 ? "/cgroup.procs" : "/tasks"))
      stayed += (stayed.empty() ? "" : ", ") + mount.target;
  return stayed;
}

void removeOwnGroups(const Instance& instance) noexcept {
  try {
    for (const auto& mount : groupMounts(instance)) {
      const std::string leaf = mount.group + "/daemon";
      if (access(leaf.c_str(), F_OK) != 0) continue;
      writeExisting(mount.target + "/cgroup.procs", "0");
      rmdir(leaf.c_str());
      rmdir(mount.group.c_str());  // fails while a kept zone is in it: good
    }
  } catch (...) {
    // Empty groups stay for the next daemon of this instance, which takes them over.
  }
}

}  // namespace rauha
