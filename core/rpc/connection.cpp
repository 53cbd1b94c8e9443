#include "core/rpc/connection.h"

#include <sys/socket.h>

#include "core/base/error.h"

namespace rauha::rpc {
namespace {
capnp::ReaderOptions readerOptions(const Limits& limits) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = limits.messageWords;
  options.nestingLimit = static_cast<int>(limits.nesting);
  return options;
}
}  // namespace

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> PoliteStream::tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd> fds,
                                                                                capnp::ReaderOptions options,
                                                                                kj::ArrayPtr<capnp::word> scratch) {
  if (network_ == nullptr || network_->getCurrentQueueCount() <= limits_.queuedReplies) {
    waitedMs_ = 0;
    return inner_.tryReadMessage(fds, options, scratch);
  }
  // KJ tells nobody when a write finishes, so we look again; 2 ms is far below what a reading peer would notice.
  constexpr uint32_t kStepMs = 2;
  waitedMs_ += kStepMs;
  if (waitedMs_ > limits_.patienceMs) {
    givenUp_.fulfiller->fulfill();
    return KJ_EXCEPTION(DISCONNECTED, "the peer does not read its replies");
  }
  return timer_.afterDelay(kStepMs * kj::MILLISECONDS).then([this, fds, options, scratch] {
    return tryReadMessage(fds, options, scratch);
  });
}

Connection::Connection(kj::Own<kj::AsyncCapabilityStream> stream, kj::Timer& timer, capnp::Capability::Client bootstrap,
                       const Limits& limits)
    : stream_(kj::mv(stream)),
      polite_(*stream_, timer, limits),
      network_(polite_, limits.descriptorsPerMessage, capnp::rpc::twoparty::Side::SERVER, readerOptions(limits)),
      rpc_(capnp::makeRpcServer(network_, kj::mv(bootstrap))) {
  polite_.watch(network_);
  rpc_.setFlowLimit(limits.flowWords);
}

Peer peerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) throwErrno("daemon", "SO_PEERCRED");
  return {credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace rauha::rpc
