#include "frontends/cli/connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/kj_error.h"
#include "core/rpc/reply_limit.h"

namespace rauha::cli {
namespace {

constexpr time_t kConnectSeconds = 5;  // a full queue of connections; a living daemon takes them within milliseconds

// Counts for what comes in only, but with 0 Cap'n Proto 0.9.2 sends none either.
constexpr kj::uint kDescriptors = 4;

capnp::ReaderOptions readerOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = rpc::kClientReadsWords;
  options.nestingLimit = 32;
  return options;
}

class DescriptorServer final : public schema::Descriptor::Server {
 public:
  explicit DescriptorServer(int fd) : fd_(fd) {}
  kj::Maybe<int> getFd() override { return fd_; }

 private:
  int fd_;
};

Error connectError(const InstancePaths& paths, int error) {
  const std::string what = "connect to " + paths.socketPath();
  if (error == EACCES || error == EPERM)
    return osError("daemon", what, error, "use sudo, or let an administrator add you to the group that owns the socket");
  if (error == EAGAIN)
    return Error("daemon", Code::busy, what + ": the daemon does not take new connections", "see whether it hangs, then try again");
  return osError("daemon", what, error);
}

// Whoever answers gets our repository and standard input: root's daemon or our own, nobody else's.
void checkPeer(int fd, const InstancePaths& paths) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) throwErrno("daemon", "ask who serves " + paths.socketPath());
  if (peer.uid == 0 || peer.uid == geteuid()) return;
  throw Error(
      "daemon", Code::denied,
      paths.socketPath() + " is served by uid " + std::to_string(peer.uid) + ", which is neither root nor uid " + std::to_string(geteuid()),
      "use another --root; do not trust this one", paths.socketPath());
}

}  // namespace

Connection::Connection(kj::AsyncIoContext& io, UniqueFd socket)
    : stream_(io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(socket.release()), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC)),
      network_(*stream_, kDescriptors, capnp::rpc::twoparty::Side::CLIENT, readerOptions()),
      rpc_(capnp::makeRpcClient(network_)),
      rauha_(nullptr),
      watch_(kj::READY_NOW) {
  capnp::MallocMessageBuilder message(4);
  auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  rauha_ = rpc_.bootstrap(server).castAs<schema::Rauha>();
  watch_ = rauha_.whenResolved().then([this]() { answered_ = true; }, [](kj::Exception&&) {}).eagerlyEvaluate(nullptr);
}

schema::Descriptor::Client passDescriptor(int fd) { return kj::heap<DescriptorServer>(fd); }

bool isLost(const kj::Exception& exception) noexcept { return exception.getType() == kj::Exception::Type::DISCONNECTED; }

Error translate(const kj::Exception& exception, const InstancePaths& paths) {
  if (isEncodedError(exception)) return fromKj(exception);
  const kj::StringPtr raw = exception.getDescription();
  std::string text(raw.begin(), raw.size());
  constexpr std::string_view kRemote = "remote exception: ";
  if (text.compare(0, kRemote.size(), kRemote) == 0) text.erase(0, kRemote.size());
  // An Error that the daemon threw instead of answering with it: it had nothing left to make an answer of.
  const kj::Exception inner(exception.getType(), exception.getFile(), exception.getLine(), kj::heapString(text.data(), text.size()));
  if (isEncodedError(inner)) return fromKj(inner);
  switch (exception.getType()) {
    case kj::Exception::Type::DISCONNECTED:
      return Error("daemon", Code::io, "the connection to the daemon at " + paths.socketPath() + " was lost",
                   "run `rauha daemon status`; the daemon's log says why it ended (" + paths.logPath() + ", or the journal)",
                   paths.socketPath());
    case kj::Exception::Type::UNIMPLEMENTED:
      return Error("daemon", Code::unsupported,
                   "the daemon at " + paths.socketPath() + " does not know this request: it is of another version than this program",
                   "restart it: `rauha daemon stop`, then try again", paths.socketPath());
    case kj::Exception::Type::OVERLOADED:
      return Error("daemon", Code::busy, "the daemon is overloaded: " + text, "try again later", paths.socketPath());
    case kj::Exception::Type::FAILED:
      break;
  }
  return Error("daemon", Code::internal, "the daemon failed: " + text,
               "this is a bug; its log has more (" + paths.logPath() + ", or the journal)", paths.socketPath());
}

UniqueFd tryConnect(const InstancePaths& paths) {
  // The directory's descriptor makes the address short whatever the path's length is.
  UniqueFd directory(open(paths.runtimeDirectory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    if (errno == ENOENT) return {};
    throw connectError(paths, errno);
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throwErrno("daemon", "make a socket");
  const timeval limit{kConnectSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + paths.socketName;
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return {};
    throw connectError(paths, errno);
  }
  checkPeer(fd.get(), paths);
  return fd;
}

}  // namespace rauha::cli
