// Stands in for rauha-shim in the backend's tests. What it does is chosen by the zone's hostname: "ok" starts a process in the zone's
// groups, answers, and listens; "refuse" answers with an error; "die" ends without a word; "mute" never answers; "deaf" ignores SIGTERM;
// "dieLate" ends when the rest of a prepared boundary has come.
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <schemas/agent.capnp.h>
#include <schemas/boundary.capnp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "core/base/fd.h"
#include "core/base/schema_error.h"
#include "plugins/linux-common/cgroup.h"
#include "plugins/linux-common/syscalls.h"

namespace {

using rauha::schema::Boundary;

void answer(bool ok, bool more = false) {
  capnp::MallocMessageBuilder message;
  auto outcome = message.initRoot<rauha::schema::Outcome>();
  if (ok)
    outcome.setOk();
  else
    rauha::writeError(outcome.initError(),
                      rauha::Error("zone", rauha::Code::unsupported, "this kernel lacks what the test asked for", "none"));
  capnp::writeMessageToFd(5, message);
  if (!more) ::close(5);
}

std::vector<rauha::cgroup::Member> members(Boundary::Reader boundary) {
  std::vector<rauha::cgroup::Member> out;
  for (const auto group : boundary.getCgroups()) out.push_back({group.getController().cStr(), group.getPath().cStr()});
  return out;
}

// What the real shim's zone init is: something in the groups that only ends when it is killed.
void startInZone(Boundary::Reader boundary) {
  rauha::cgroup::ZoneGroups groups(members(boundary));
  const auto child = rauha::sys::clone3({0, groups.v2Fd()}, "zone process");
  if (child.pid != 0) return;
  for (const int fd : groups.v1TaskFds())
    if (::write(fd, "0", 1) != 1) ::_exit(1);
  rauha::sys::closeRangeRaw(3, ~0u, 0);  // the pipe ends with the shim
  for (;;) ::pause();
}

int listenAt(const std::string& path) {
  const int directory = ::open(path.substr(0, path.rfind('/')).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/shim.sock", directory);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 4) != 0) ::_exit(70);
  return fd;
}

// The fixture looks for descriptors that should not be here.
bool strayDescriptors() {
  for (int fd = 6; fd < 256; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) return true;
  return false;
}

}  // namespace

int main() {
  if (strayDescriptors()) {
    ::fputs("stray descriptors\n", stderr);
    return 71;
  }
  capnp::StreamFdMessageReader message(3);
  const auto boundary = message.getRoot<Boundary>();
  const std::string behaviour = boundary.getHostname().cStr();
  if (behaviour == "die") {
    ::fputs("the test told me to\n", stderr);
    return 1;
  }
  if (behaviour == "deaf") ::signal(SIGTERM, SIG_IGN);
  startInZone(boundary);
  if (behaviour == "mute")
    for (;;) ::pause();
  if (boundary.hasSocketPath()) listenAt(boundary.getSocketPath().cStr());
  answer(behaviour != "refuse", boundary.getPrepared());
  if (behaviour == "refuse") return 1;
  if (boundary.getPrepared()) {
    capnp::StreamFdMessageReader second(3);
    if (second.getRoot<Boundary>().getPrepared()) return 1;
    if (behaviour == "dieLate") return 1;
    answer(true);
  }
  if (boundary.getEphemeral()) {
    char c;
    while (::read(4, &c, 1) > 0) {
    }
    return 0;
  }
  for (;;) ::pause();
}
