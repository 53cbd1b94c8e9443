#include "plugins/agent/zone_init.h"

#include <grp.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr const char* kSteps[] = {"none",
                                  "die with the agent",
                                  "join the v1 control groups",
                                  "set the host name",
                                  "bring up lo",
                                  "enter an empty root",
                                  "close descriptors",
                                  "wait for the id maps",
                                  "become the zone's root",
                                  "drop privileges",
                                  "reset the out-of-memory score"};
enum Step { kDeath = 1, kGroups, kHostname, kLo, kRoot, kClose, kMaps, kIds, kDrop, kOom };

bool bringUpLo() noexcept {
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (s < 0) return false;
  struct ifreq request = {};
  std::memcpy(request.ifr_name, "lo", 3);
  bool ok = ::ioctl(s, SIOCGIFFLAGS, &request) == 0;
  if (ok) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
    ok = ::ioctl(s, SIOCSIFFLAGS, &request) == 0;
  }
  ::close(s);
  return ok;
}

void resetSignals() noexcept {
  // SIGCHLD ignored: the kernel reaps what is orphaned. Everything that can be blocked is blocked; strict mode must never see EINTR.
  struct sigaction action = {};
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGCHLD, &action, nullptr);
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
}

// Returns the step that failed, 0 when all is well. errno tells why.
int setUp(const ZoneInitSpec& spec, int& control) noexcept {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0) return kDeath;
  if (!sys::resetOomScoreRaw()) return kOom;
  ::prctl(PR_SET_NAME, "rauha-init");
  if (spec.commandLineSize > 0) {
    std::memset(spec.commandLine, 0, spec.commandLineSize);
    std::strncpy(spec.commandLine, "rauha-init", spec.commandLineSize - 1);
  }
  resetSignals();
  for (int fd : spec.v1TaskFds)
    if (::write(fd, "0", 1) != 1) return kGroups;
  if (::sethostname(spec.hostname.c_str(), spec.hostname.size()) != 0) return kHostname;
  if (spec.ownNetwork && !bringUpLo()) return kLo;
  if (::fchdir(spec.emptyRoot) != 0 || ::chroot(".") != 0) return kRoot;
  if (control != 0) {
    if (::dup2(control, 0) != 0) return kClose;
    control = 0;
  }
  if (sys::closeRangeRaw(1, ~0u, 0) != 0) return kClose;
  char go = 0;
  if (::read(control, &go, 1) != 1) return kMaps;
  if (spec.userNamespace && (::setgroups(0, nullptr) != 0 || ::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0)) return kIds;
  // A change of ids resets both of these.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return kDrop;
  if (sys::capsetRaw(0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kDrop;
  return 0;
}

}  // namespace

const char* zoneInitStepName(int step) noexcept { return step > 0 && step <= kOom ? kSteps[step] : kSteps[0]; }

void runZoneInit(const ZoneInitSpec& spec, int control) noexcept {
  ZoneInitAnswer answer;
  answer.step = setUp(spec, control);
  answer.error = answer.step != 0 ? errno : 0;
  if (answer.step == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) answer = {kDrop, errno};
  const bool told = ::write(control, &answer, sizeof answer) == static_cast<ssize_t>(sizeof answer);
  char byte;
  while (told && answer.step == 0 && ::read(control, &byte, 1) > 0) {
  }
  // exit(2), not exit_group: strict mode knows only the former; there is one thread.
  ::syscall(SYS_exit, 0);
  __builtin_unreachable();
}

}  // namespace rauha::agent
