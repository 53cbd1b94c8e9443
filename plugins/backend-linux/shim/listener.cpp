#include "plugins/backend-linux/shim/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "core/base/error.h"
#include "plugins/agent/connection.h"

namespace rauha::shim {
namespace {

constexpr std::string_view kClass = "backend";
constexpr auto kOwned = kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP | kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC;

// Paths may be longer than sun_path: bound through the directory's descriptor.
UniqueFd bindAt(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) throw Error(kClass, Code::invalid, "socket path " + path + " is not absolute");
  UniqueFd directory(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) throwErrno(kClass, "open the directory of " + path);
  const std::string name = path.substr(slash + 1), reach = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + name;
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (reach.size() >= sizeof address.sun_path) throw Error(kClass, Code::invalid, "the name of socket " + path + " is too long");
  std::memcpy(address.sun_path, reach.c_str(), reach.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throwErrno(kClass, "make a socket");
  if (::unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT) throwErrno(kClass, "replace " + path);
  const mode_t old = ::umask(0177);
  const int r = ::bind(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address);
  ::umask(old);
  if (r != 0) throwErrno(kClass, "bind " + path);
  if (::listen(socket.get(), 16) != 0) throwErrno(kClass, "listen at " + path);
  return socket;
}

bool trusted(kj::AsyncIoStream& stream) {
  struct ucred peer = {};
  kj::uint size = sizeof peer;
  stream.getsockopt(SOL_SOCKET, SO_PEERCRED, &peer, &size);
  return peer.uid == 0 || peer.uid == ::geteuid();
}

struct Silent final : kj::TaskSet::ErrorHandler {
  void taskFailed(kj::Exception&&) override {}  // a client that broke off; the next one comes
};

Task<void> acceptAll(kj::Own<kj::ConnectionReceiver> receiver, schema::Agent::Client agent) {
  Silent silent;
  kj::TaskSet connections(silent);
  while (true) {
    auto stream = co_await receiver->accept();
    if (!trusted(*stream)) continue;
    auto connection = kj::heap<agent::Connection>(stream.downcast<kj::AsyncCapabilityStream>(), agent);
    auto closed = connection->closed();
    connections.add(closed.attach(kj::mv(connection)));
  }
}

}  // namespace

kj::Promise<void> serveFirst(kj::AsyncIoContext& io, int fd, schema::Agent::Client agent) {
  auto stream = io.lowLevelProvider->wrapUnixSocketFd(fd, kOwned);
  auto connection = kj::heap<agent::Connection>(kj::mv(stream), kj::mv(agent));
  auto closed = connection->closed();
  return closed.attach(kj::mv(connection));
}

kj::Promise<void> serveListener(kj::AsyncIoContext& io, const std::string& path, schema::Agent::Client agent) {
  auto receiver = io.lowLevelProvider->wrapListenSocketFd(bindAt(path).release(), kOwned | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
  return acceptAll(kj::mv(receiver), kj::mv(agent));
}

}  // namespace rauha::shim
