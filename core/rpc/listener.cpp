#include "core/rpc/listener.h"

#include <fcntl.h>
#include <grp.h>
#include <kj/io.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/base/clock.h"
#include "core/base/error.h"

namespace rauha::rpc {

UniqueFd listenAt(const std::string& directory, const std::string& name, const std::string& group) {
  const std::string path = directory + "/" + name;
  UniqueFd dir(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) throwErrno("daemon", "open " + directory);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throwErrno("daemon", "socket " + path);
  if (unlinkat(dir.get(), name.c_str(), 0) != 0 && errno != ENOENT) throwErrno("daemon", "remove stale " + path);
  // sun_path holds 108 bytes; the descriptor's path is always short.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string shortPath = "/proc/self/fd/" + std::to_string(dir.get()) + "/" + name;
  if (shortPath.size() >= sizeof address.sun_path) throw Error("daemon", Code::invalid, "socket name " + name + " is too long");
  std::memcpy(address.sun_path, shortPath.c_str(), shortPath.size());
  // Made without any right for others: nobody may connect between bind and chmod.
  const mode_t old = umask(0177);
  const int bound = ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  umask(old);
  if (bound != 0) throwErrno("daemon", "bind " + path);
  if (!group.empty()) {
    if (const struct group* g = getgrnam(group.c_str()); g != nullptr)
      if (fchownat(dir.get(), name.c_str(), static_cast<uid_t>(-1), g->gr_gid, AT_SYMLINK_NOFOLLOW) != 0 ||
          fchmodat(dir.get(), name.c_str(), 0660, 0) != 0)
        throwErrno("daemon", "give " + path + " to group " + group);
  }
  if (::listen(socket.get(), 256) != 0) throwErrno("daemon", "listen on " + path);
  return socket;
}

// What the service manager writes is a plain number; anything else is not for us.
static long numberIn(const char* text) {
  long number = -1;
  if (text == nullptr) return number;
  const char* end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, number);
  return read.ec == std::errc() && read.ptr == end ? number : -1;
}

UniqueFd listenFromSystemd() {
  const char* pid = getenv("LISTEN_PID");
  const char* count = getenv("LISTEN_FDS");
  UniqueFd socket;
  if (numberIn(pid) == getpid() && numberIn(count) >= 1) {
    constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
    int type = 0, listening = 0;
    socklen_t size = sizeof type;
    if (getsockopt(kFirst, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockopt(kFirst, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0)
      throw Error("daemon", Code::invalid, "descriptor 3, passed by the service manager, is not a listening stream socket",
                  "use packaging/systemd/rauhad.socket as it is");
    fcntl(kFirst, F_SETFD, FD_CLOEXEC);
    fcntl(kFirst, F_SETFL, fcntl(kFirst, F_GETFL) | O_NONBLOCK);
    socket.reset(kFirst);
  }
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
  return socket;
}

Listener::Listener(kj::AsyncIoContext& io, Bootstrap bootstrap, Refused refused)
    : io_(io), bootstrap_(std::move(bootstrap)), refused_(std::move(refused)), lastActivityNs_(monotonicNs()), open_(*this) {}

void Listener::serve(UniqueFd socket) {
  socket_ = std::move(socket);
  receiver_ = io_.lowLevelProvider->wrapListenSocketFd(
      socket_.get(), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
  loop_ = acceptLoop().eagerlyEvaluate([this](kj::Exception&& e) { taskFailed(kj::mv(e)); });
}

UniqueFd Listener::stop() {
  loop_ = nullptr;
  receiver_ = nullptr;
  return std::move(socket_);
}

void Listener::adopt(UniqueFd connection) { take(io_.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(connection.release()))); }

kj::Promise<void> Listener::acceptLoop() {
  // accept() also throws where it could reject: either way the loop goes on. Only one connection is lost when it cannot be taken.
  return kj::evalNow([this] { return receiver_->accept(); })
      .then([this](kj::Own<kj::AsyncIoStream>&& stream) { take(kj::mv(stream)); })
      .then([this] { return acceptLoop(); },
            [this](kj::Exception&& e) {
              // Out of descriptors, most likely: the next one may work, so the daemon must not go deaf.
              refused_(Peer{}, std::string("accept: ") + e.getDescription().cStr());
              return io_.provider->getTimer().afterDelay(100 * kj::MILLISECONDS).then([this] { return acceptLoop(); });
            });
}

void Listener::take(kj::Own<kj::AsyncIoStream> stream) {
  lastActivityNs_ = monotonicNs();
  KJ_IF_MAYBE (fd, stream->getFd()) {
    const Peer peer = peerOf(*fd);
    size_t& mine = perUser_[peer.uid];
    if (total_ >= kMaxConnections || (peer.uid != 0 && mine >= kMaxPerUser)) {
      refused_(peer, "too many connections (" + std::to_string(total_) + " in all, " + std::to_string(mine) + " of uid " +
                         std::to_string(peer.uid) + ")");
      return;
    }
    ++total_, ++mine;
    auto connection = kj::heap<Connection>(stream.downcast<kj::AsyncCapabilityStream>(), io_.provider->getTimer(), bootstrap_(peer),
                                           Limits{}, budget_, peer.uid);
    auto gone = connection->onDisconnect();
    open_.add(gone.attach(kj::mv(connection), kj::defer([this, uid = peer.uid] {
                            --total_;
                            if (--perUser_[uid] == 0) perUser_.erase(uid);
                            lastActivityNs_ = monotonicNs();
                          })));
  }
}

void Listener::taskFailed(kj::Exception&& exception) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;  // the normal end of a connection
  refused_(Peer{}, exception.getDescription().cStr());
}

}  // namespace rauha::rpc
