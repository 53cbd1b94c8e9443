#include "plugins/agent/scratch.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kClass = "zone";
constexpr const char* kHint = "use scratch = \"memory\" in the policy";
constexpr const char* kMkfs[] = {"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4", "/bin/mkfs.ext4"};

UniqueFd makeFile(const std::string& directory, uint64_t bytes) {
  UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file) throwErrno(kClass, "make a scratch file in " + directory);
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
    throwErrno(kClass, "size a scratch file of " + std::to_string(bytes) + " bytes");
  return file;
}

[[noreturn]] void execMkfs(int file) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDWR);
  if (::dup2(null, 0) < 0 || ::dup2(null, 1) < 0 || ::dup2(null, 2) < 0 || ::dup2(file, 3) != 3) ::_exit(126);
  sys::closeRangeRaw(4, ~0u, 0);
  const char* env[] = {"PATH=/sbin:/usr/sbin:/bin:/usr/bin", nullptr};
  for (const char* path : kMkfs) {
    const char* argv[] = {
        path, "-q", "-F", "-O", "^has_journal,^resize_inode", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", "/proc/self/fd/3", nullptr};
    ::execve(path, const_cast<char**>(argv), const_cast<char**>(env));
  }
  ::_exit(127);
}

void format(int file) {
  sys::Child child = sys::clone3({}, "start mkfs.ext4");
  if (child.pid == 0) execMkfs(file);
  siginfo_t info = {};
  while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED) != 0)
    if (errno != EINTR) throwErrno(kClass, "wait for mkfs.ext4");
  if (info.si_code == CLD_EXITED && info.si_status == 0) return;
  if (info.si_code == CLD_EXITED && info.si_status == 127)
    throw Error(kClass, Code::unsupported, "mkfs.ext4 is not installed, disk scratch needs it", kHint);
  throw Error(kClass, Code::io, "mkfs.ext4 failed with status " + std::to_string(info.si_status), kHint);
}

bool tryConfigure(int loop, int file) {
  struct loop_config config = {};
  config.fd = static_cast<uint32_t>(file);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (::ioctl(loop, LOOP_CONFIGURE, &config) == 0) return true;
  if (errno == EBUSY) return false;  // somebody else was faster
  throw osError(kClass, "set up a loop device", errno, kHint);
}

}  // namespace

DiskScratch makeDiskScratch(const std::string& directory, uint64_t bytes) {
  const UniqueFd file = makeFile(directory, bytes);
  format(file.get());
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) throw Error(kClass, Code::unsupported, "this machine has no loop devices, disk scratch needs one", kHint);
  for (int tries = 0; tries < 64; ++tries) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) throw osError(kClass, "find a free loop device", errno, kHint);
    DiskScratch scratch;
    scratch.device = "/dev/loop" + std::to_string(number);
    scratch.loop.reset(::open(scratch.device.c_str(), O_RDWR | O_CLOEXEC));
    if (!scratch.loop) throw osError(kClass, "open " + scratch.device, errno, kHint);
    if (tryConfigure(scratch.loop.get(), file.get())) return scratch;
  }
  throw Error(kClass, Code::busy, "no loop device could be had", kHint);
}

}  // namespace rauha::agent
