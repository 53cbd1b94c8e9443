#include "plugins/backend-linux/probe.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"
#include "plugins/backend-linux/backend.h"
#include "plugins/backend-linux/layers.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::backend {
namespace {

// Runs the attempt in a child and returns the errno that it came back with; 0 is success. The child may only make plain system calls: the
// daemon has other threads, whose locks the copy holds.
template <typename F>
int tryInChild(F&& attempt) {
  const pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(attempt() & 0xFF);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

// In a mount namespace of its own from which nothing comes back.
int privateMounts() {
  if (::unshare(CLONE_NEWNS) != 0) return errno;
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
}

int namespaces(int flags) {
  return tryInChild([flags] { return ::unshare(flags) == 0 ? 0 : errno; });
}

int filters() {
  return tryInChild([] {
    sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{1, code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
  });
}

// An overlay over two directories of a tmpfs that only the child sees. `at` is any existing directory.
int overlay(const char* at) {
  return tryInChild([at] {
    if (const int error = privateMounts()) return error;
    if (::mount("none", at, "tmpfs", 0, "mode=700") != 0 || ::chdir(at) != 0) return errno;
    for (const char* name : {"l", "u", "w", "m"})
      if (::mkdir(name, 0700) != 0) return errno;
    return ::mount("overlay", "m", "overlay", 0, "lowerdir=l,upperdir=u,workdir=w") == 0 ? 0 : errno;
  });
}

int writeOnce(const char* path, const char* text, size_t size) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const ssize_t n = ::write(fd, text, size);
  const int error = n == static_cast<ssize_t>(size) ? 0 : errno;
  ::close(fd);
  return error;
}

// A detached, id-mapped copy of the directory's mount. The mapping is of a user namespace that a grandchild holds open.
int idMapped(const char* directory, uint32_t base) {
  char map[64];
  const int size = ::snprintf(map, sizeof map, "0 %u %u", base, kIdsPerZone);
  return tryInChild([directory, &map, size] {
    int ready[2], hold[2];
    if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(hold, O_CLOEXEC) != 0) return errno;
    const pid_t pid = ::fork();
    if (pid < 0) return errno;
    if (pid == 0) {
      auto c = static_cast<unsigned char>(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
      ::close(hold[1]);
      if (::write(ready[1], &c, 1) != 1) ::_exit(1);
      ::_exit(::read(hold[0], &c, 1) == 0 ? 0 : 1);  // until the parent is gone
    }
    unsigned char answer = 0;
    char path[64];
    if (::read(ready[0], &answer, 1) != 1) return EIO;
    int error = answer;
    ::snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    if (error == 0) error = writeOnce(path, map, static_cast<size_t>(size));
    ::snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    if (error == 0) error = writeOnce(path, map, static_cast<size_t>(size));
    ::snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    if (error == 0) {
      const int userns = ::open(path, O_RDONLY | O_CLOEXEC);
      const int tree = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      sys::MountChange change;
      change.idmapUserns = userns;
      error = userns < 0 || tree < 0 || sys::setMountAttributesRaw(tree, change) != 0 ? errno : 0;
    }
    ::close(hold[1]);
    ::waitpid(pid, nullptr, 0);
    return error;
  });
}

Layer outcome(const char* name, int error, const std::string& detail, const std::string& step, const std::string& remedy) {
  if (error == 0) return {name, Armed::full, detail, "", ""};
  return {name, Armed::missing, "none", osError("backend", step, error).text(), remedy};
}

Layer userNamespaces(const IdRanges& ids, uint32_t idBase) {
  if (const std::string reason = ids.obstacle(); !reason.empty())
    return {"user_namespace", Armed::missing, "none", reason, "run Rauha in the host's user namespace, or set id_base and id_slots"};
  return outcome("user_namespace", namespaces(CLONE_NEWUSER), "private ranges of 65536 from " + std::to_string(idBase),
                 "make a user namespace", "raise user.max_user_namespaces; allow user namespaces in the host's security policy");
}

Layer diskScratch(const std::optional<std::string>& ioDevice) {
  std::string mkfs;
  for (const char* directory : {"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"})
    if (mkfs.empty() && ::access((std::string(directory) + "/mkfs.ext4").c_str(), X_OK) == 0) mkfs = std::string(directory) + "/mkfs.ext4";
  if (mkfs.empty())
    return {"disk_scratch", Armed::missing, "none", "mkfs.ext4 is not installed", "install e2fsprogs, or use scratch = \"memory\""};
  if (::access("/dev/loop-control", R_OK | W_OK) != 0)
    return {"disk_scratch", Armed::missing, "none", "there are no loop devices", "load the loop module, or use scratch = \"memory\""};
  std::string detail = "ext4 in a file, by loop device";
  if (!ioDevice) detail += ", without a disk below";
  return {"disk_scratch", Armed::full, detail, "", ""};
}

}  // namespace

std::vector<Layer> probeMachine(const cgroup::GroupTree& groups, const IdRanges& ids, uint32_t idBase,
                                const std::optional<std::string>& ioDevice, const std::string& stateDir, const std::string& shimProgram) {
  std::vector<Layer> out;
  out.push_back(userNamespaces(ids, idBase));
  out.push_back(outcome("seccomp", filters(), "filters", "load a system call filter", "use a kernel with CONFIG_SECCOMP_FILTER"));
  out.push_back(landlockLayer(sys::landlockAbi()));
  out.push_back({"capabilities", Armed::full, "bounding set and no_new_privs", "", ""});
  for (Layer& layer : groups.probe(ioDevice)) out.push_back(std::move(layer));
  out.push_back(outcome("network", namespaces(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC), "isolated", "make a network namespace",
                        "run Rauha as root outside of containers that forbid it"));
  out.push_back({"enforcer", Armed::missing, "none", "no enforcer plugin is loaded", ""});
  out.push_back(outcome("overlay", overlay(stateDir.c_str()), "overlay file system", "mount an overlay", "load the overlay module"));
  out.push_back(outcome("idmapped_mounts", idMapped(stateDir.c_str(), idBase), "on the file system of " + stateDir,
                        "id-map a mount of " + stateDir, "put the state directory on ext4, xfs, btrfs or tmpfs (Linux 5.12 or newer)"));
  out.push_back(diskScratch(ioDevice));
  if (::access(shimProgram.c_str(), X_OK) == 0)
    out.push_back({"shim", Armed::full, shimProgram, "", ""});
  else
    out.push_back({"shim", Armed::missing, "none", osError("backend", shimProgram, errno).text(),
                   "install rauha-shim beside rauhad or in libexec/rauha"});
  return out;
}

void LinuxBackend::probe(sdk::Call&, const rauha_layer_sink& sink) {
  for (const Layer& layer : probeMachine(groups_, ids_, config_.idBase, ioDevice_, stateDir_, shimProgram_.path())) push(sink, layer);
}

}  // namespace rauha::backend
