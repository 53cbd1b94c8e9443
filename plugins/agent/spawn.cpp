#include "plugins/agent/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/clock.h"
#include "plugins/agent/confine.h"
#include "plugins/agent/exec.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr const char* kNoLandlock = "landlock: the kernel has none, or only version 1";

struct Pipe {
  UniqueFd read, write;
};

Pipe makePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throwErrno(kClass, "make a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void setNonBlocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) throwErrno(kClass, "make a descriptor non-blocking");
}

// Both ends of everything that connects agent and process.
struct Wires {
  UniqueFd agentControl, processControl;
  Pipe in, out, err;
};

Wires makeWires(const ProcessPlan& process) {
  Wires w;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) throwErrno(kClass, "make a socket pair");
  w.agentControl.reset(pair[0]);
  w.processControl.reset(pair[1]);
  if (process.terminal) return w;
  if (process.stdinOpen) w.in = makePipe();
  w.out = makePipe();
  w.err = makePipe();
  return w;
}

Spawned agentSide(sys::Child child, Wires& w) {
  Spawned s;
  s.pid = child.pid;
  s.pidfd = std::move(child.pidfd);
  s.control = std::move(w.agentControl);
  s.stdinWrite = std::move(w.in.write);
  s.stdout = std::move(w.out.read);
  s.stderr = std::move(w.err.read);
  for (int fd : {s.control.get(), s.stdinWrite.get(), s.stdout.get(), s.stderr.get()})
    if (fd >= 0) setNonBlocking(fd);
  return s;
}

void joinV1Groups(const cgroup::ZoneGroups& groups) {
  for (int fd : groups.v1TaskFds())
    if (::write(fd, "0", 1) != 1) throwErrno(kClass, "join a control group of the zone");
}

// Signals as a fresh program expects them: KJ blocks some and ignores SIGPIPE.
void resetSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int n = 1; n < NSIG; ++n) ::sigaction(n, &action, nullptr);  // SIGKILL and SIGSTOP refuse; nothing to do about it
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A device node of the container by its plain name. Processes that already run there may have put anything under it.
UniqueFd openDevice(const char* path, int flags, unsigned majorNumber, unsigned minorNumber) {
  UniqueFd fd(::open(path, flags | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throwErrno(kClass, std::string("open the zone's ") + path);
  struct stat st;
  if (::fstat(fd.get(), &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(majorNumber, minorNumber))
    throw Error(kClass, Code::denied, std::string("the zone's ") + path + " is not the device it should be", {}, path);
  return fd;
}

void becomeStdio(int fd, int number) {
  if (::dup2(fd, number) < 0) throwErrno(kClass, "set up standard input and output");
}

// The master goes to the agent, the other end becomes the controlling terminal.
void openTerminal(const ProcessPlan& process, int control) {
  UniqueFd master = openDevice("/dev/pts/ptmx", O_RDWR, 5, 2);
  int unlock = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlock) != 0) throwErrno(kClass, "unlock a terminal");
  UniqueFd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) throwErrno(kClass, "open a terminal");
  struct winsize size = {};
  size.ws_row = process.rows;
  size.ws_col = process.columns;
  if (process.rows != 0 && ::ioctl(master.get(), TIOCSWINSZ, &size) != 0) throwErrno(kClass, "size a terminal");
  if (::ioctl(slave.get(), TIOCSCTTY, 0) != 0) throwErrno(kClass, "take the controlling terminal");
  for (int n = 0; n < 3; ++n) becomeStdio(slave.get(), n);
  sendDescriptors(control, kTagTerminal, {master.get()});
}

void setUpStdio(const ProcessPlan& process, const Wires& w, int control) {
  if (process.terminal) return openTerminal(process, control);
  if (process.stdinOpen) {
    becomeStdio(w.in.read.get(), 0);
  } else {
    UniqueFd null = openDevice("/dev/null", O_RDONLY, 1, 3);
    if (::fcntl(null.get(), F_SETFL, 0) != 0) throwErrno(kClass, "open the zone's /dev/null");
    becomeStdio(null.get(), 0);
  }
  becomeStdio(w.out.write.get(), 1);
  becomeStdio(w.err.write.get(), 2);
}

// Returns 0 or errno. /proc's links to what this process has open are not followed: they lead past the root.
int changeDirectory(const std::string& path) {
  const UniqueFd directory(sys::openat2Raw(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS));
  return directory && ::fchdir(directory.get()) == 0 ? 0 : errno;
}

// Comes after keepOnlyReport: while the agent's descriptors are open, /proc/self/fd shows directories of the host.
void enterWorkdir(const ProcessPlan& process) {
  const std::string& path = process.workdir;
  int error = changeDirectory(path);
  if (error == ENOENT && !process.workdirRequired && ::mkdir(path.c_str(), 0755) == 0) error = changeDirectory(path);
  if (error != 0) throw osError("zone", "working directory " + path, error, "it must exist in the zone and be open to the task's user");
}

class StageClock {
 public:
  explicit StageClock(Ready& ready) : ready_(ready), last_(monotonicNs()) {}
  void mark(const char* name) {
    const int64_t now = monotonicNs();
    ready_.stages.emplace_back(name, static_cast<uint64_t>(now - last_));
    last_ = now;
  }

 private:
  Ready& ready_;
  int64_t last_;
};

constexpr int kReportFd = 3;

// Reports and ends. Nothing is unwound: an owner of a descriptor that was number 3 before would close the way to report.
[[noreturn]] void reportAndDie(int control, const Error& e) {
  const std::string message = encodeError(e);
  (void)!::write(control, message.data(), message.size());
  ::_exit(127);
}

// Descriptor 3 is the way to report, closed by exec; everything above goes now, so that seccomp need not allow it later.
void keepOnlyReport(int control) {
  if (control != kReportFd && ::dup3(control, kReportFd, O_CLOEXEC) < 0) throwErrno(kClass, "move the control socket");
  if (sys::closeRangeRaw(kReportFd + 1, ~0u, 0) != 0) reportAndDie(kReportFd, osError(kClass, "close descriptors", errno));
}

[[noreturn]] void armFiltersAndExec(const SpawnContext& context, const ProcessPlan& process, const ExecPlan& exec, Ready& ready,
                                    StageClock& clock) {
  try {
    enterWorkdir(process);
    armSeccomp(context.zone, context.noSuid, ready.armed);
    clock.mark("confine");
    writeAll(kReportFd, encodeReady(ready), "the report");
    char go = 0;
    if (::read(kReportFd, &go, 1) != 1) ::_exit(127);  // the agent gave up
    reportAndDie(kReportFd, execFailure(exec, runExec(exec)));
  } catch (const Error& e) {
    reportAndDie(kReportFd, e);
  }
}

// From here on both ways are the same: identity, stdio, confinement, report, wait, exec.
[[noreturn]] void armAndExec(const SpawnContext& context, const ProcessPlan& process, const User& user, int ruleset, int landlockAbi,
                             const Wires& w, Ready& ready) {
  StageClock clock(ready);
  const ExecPlan exec = planExec(process);
  if (::setsid() < 0) throwErrno(kClass, "start a session");
  becomeUser(context.zone, user, ready.armed);
  ready.armed.userNamespace = context.zone.userNamespace;
  ready.hostUid = context.zone.hostId(user.uid);
  ready.hostGid = context.zone.hostId(user.gid);
  setUpStdio(process, w, w.processControl.get());
  ::umask(022);
  resetSignals();
  armLandlock(ruleset, landlockAbi, ready.armed);
  keepOnlyReport(w.processControl.get());
  armFiltersAndExec(context, process, exec, ready, clock);
}

// Runs `body` in the child; whatever it throws goes to the agent.
template <typename F>
[[noreturn]] void inChild(const Wires& w, F body) {
  try {
    // The agent's memory must not be readable for anybody in the zone that the child is about to join.
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) throwErrno(kClass, "hide the agent's memory from the zone");
    body();
  } catch (const Error& e) {
    reportAndDie(w.processControl.get(), e);
  } catch (...) {
    ::_exit(125);
  }
  ::_exit(127);
}

int sharedNamespaces(const Zone& zone) { return CLONE_NEWIPC | CLONE_NEWUTS | (zone.ownNetwork ? CLONE_NEWNET : 0); }

// Sets in which pid namespace the agent's next children are born, and back again.
class InZonePids {
 public:
  explicit InZonePids(const Zone& zone) : own_(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC)) {
    if (!own_) throwErrno(kClass, "open the agent's pid namespace");
    sys::setns(zone.init.get(), CLONE_NEWPID, "enter the zone's pid namespace");
  }
  ~InZonePids() { (void)::setns(own_.get(), CLONE_NEWPID); }
  InZonePids(const InZonePids&) = delete;
  InZonePids& operator=(const InZonePids&) = delete;

 private:
  UniqueFd own_;
};

// Everything the builder holds is closed on return: the open-file limit that follows may be small. Returns the Landlock ruleset.
UniqueFd buildRoot(const SpawnContext& context, const RootPlan& root, const ProcessPlan& process, PreparedRoot prepared, const Wires& w,
                   Ready& ready, User& user, int& abi) {
  const auto copying = [&w](const CopyCounts& counts, bool done) {
    sendCopying(w.processControl.get(), {counts.files, counts.bytes, done});
  };
  RootBuilder builder(context.zone, root, process, std::move(prepared), copying);
  builder.build();
  for (const auto& s : builder.stages()) ready.stages.push_back(s);
  UniqueFd ruleset = builder.makeLandlockRuleset(abi);
  if (ruleset) sendDescriptors(w.processControl.get(), kTagRuleset, {ruleset.get()});
  if (context.zone.landlock && !ruleset) ready.armed.notes.push_back(kNoLandlock);
  for (const auto& note : builder.notes()) ready.armed.notes.push_back(note);
  // One by one, in the plan's order: a message carries few.
  for (const auto& layer : builder.writableLayers()) sendDescriptors(w.processControl.get(), kTagWritableLayer, {layer.get()});
  user = builder.user();
  return ruleset;
}

}  // namespace

Spawned spawnContainer(const SpawnContext& context, const RootPlan& root, const ProcessPlan& process, PreparedRoot prepared) {
  const Zone& zone = context.zone;
  Wires w = makeWires(process);
  InZonePids born(zone);
  sys::Child child = sys::clone3({.flags = CLONE_NEWNS, .cgroupFd = context.groups.v2Fd()}, "start a process in the zone");
  if (child.pid > 0) return agentSide(std::move(child), w);
  inChild(w, [&] {
    Ready ready;
    StageClock clock(ready);
    joinV1Groups(context.groups);
    sys::setns(zone.init.get(), sharedNamespaces(zone), "enter the zone's namespaces");
    // After the groups are joined: the root of this namespace is the zone's own group.
    sys::unshare(CLONE_NEWCGROUP, "make a control group namespace");
    clock.mark("enter");
    User user;
    int abi = 0;
    const UniqueFd ruleset = buildRoot(context, root, process, std::move(prepared), w, ready, user, abi);
    setLimits(zone, ready.armed);
    if (zone.userNamespace) {
      // A mount namespace made inside the user namespace: every mount in it is locked.
      sys::setns(zone.userNamespaceFd.get(), CLONE_NEWUSER, "enter the zone's user namespace");
      sys::unshare(CLONE_NEWNS, "lock the mounts");
    }
    armAndExec(context, process, user, ruleset.get(), abi, w, ready);
  });
}

Spawned spawnInContainer(const SpawnContext& context, const JoinTarget& target, const ProcessPlan& process) {
  const Zone& zone = context.zone;
  Wires w = makeWires(process);
  InZonePids born(zone);
  sys::Child child = sys::clone3({.flags = 0, .cgroupFd = context.groups.v2Fd()}, "start a process in the zone");
  if (child.pid > 0) return agentSide(std::move(child), w);
  inChild(w, [&] {
    Ready ready;
    joinV1Groups(context.groups);
    setLimits(zone, ready.armed);
    const int user = zone.userNamespace ? CLONE_NEWUSER : 0;
    sys::setns(target.pidfd, user | CLONE_NEWNS | CLONE_NEWCGROUP | sharedNamespaces(zone), "enter the container's namespaces");
    UniqueFd slash(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!slash) throwErrno(kClass, "open the container's root");
    const User who = resolveUserBeneath(slash.get(), process.user, zone.maxId());
    if (target.ruleset < 0 && zone.landlock) ready.armed.notes.push_back(kNoLandlock);
    armAndExec(context, process, who, target.ruleset, target.landlockAbi, w, ready);
  });
}

}  // namespace rauha::agent
