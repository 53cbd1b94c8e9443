#include "plugins/agent/idmap.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/base/error.h"
#include "plugins/linux-common/syscalls.h"

namespace rauha::agent {
namespace {

// The child may live in another pid namespace than the /proc that we see: its number there stands in the descriptor's information.
std::string procPidOf(int pidfd) {
  const std::string info = readFile("/proc/self/fdinfo/" + std::to_string(pidfd), 4096);
  const size_t at = info.find("\nPid:");
  if (at == std::string::npos) throw Error("zone", Code::internal, "no process number in the information of a pidfd");
  const size_t begin = info.find_first_not_of(" \t", at + 5);
  return info.substr(begin, info.find('\n', begin) - begin);
}

void writeMap(const std::string& pid, const char* file, uint32_t inner, uint32_t outer) {
  writeExisting("/proc/" + pid + "/" + file, std::to_string(inner) + " " + std::to_string(outer) + " 1\n");
}

}  // namespace

UniqueFd makeOneIdUserns(uint32_t innerUid, uint32_t outerUid, uint32_t innerGid, uint32_t outerGid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throwErrno("zone", "make a pipe");
  UniqueFd readEnd(ends[0]), writeEnd(ends[1]);
  sys::Child child = sys::clone3({.flags = CLONE_NEWUSER}, "make a user namespace for an id-mapped mount");
  if (child.pid == 0) {
    writeEnd.reset();
    char byte;
    const ssize_t n = ::read(readEnd.get(), &byte, 1);  // until the parent is done, or dead
    ::_exit(n == 0 ? 0 : 1);
  }
  Defer reap([&] {
    writeEnd.reset();
    siginfo_t info;
    while (::waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED) != 0 && errno == EINTR) {
    }
  });
  const std::string pid = procPidOf(child.pidfd.get());
  writeMap(pid, "uid_map", innerUid, outerUid);
  writeMap(pid, "gid_map", innerGid, outerGid);
  UniqueFd userns(::open(("/proc/" + pid + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  if (!userns) throwErrno("zone", "open the user namespace of an id-mapped mount");
  return userns;
}

}  // namespace rauha::agent
