#include "core/rpc/connection.h"

#include <capnp/serialize.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace rauha::rpc {
namespace {
// For Cap'n Proto 0.9.2 one number bounds what comes in and what goes out. What comes in is bounded by PoliteStream, tighter.
capnp::ReaderOptions readerOptions(const Limits& limits) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = std::max(limits.messageWords, limits.replyWords);
  options.nestingLimit = static_cast<int>(limits.nesting);
  return options;
}

// Fills `space` from `have` on. Not asking for nothing: that would wait for the next message.
kj::Promise<void> readRest(kj::AsyncInputStream& stream, kj::ArrayPtr<kj::byte> space, size_t have) {
  if (have == space.size()) return kj::READY_NOW;
  return stream.read(space.begin() + have, space.size() - have);
}
}  // namespace

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> PoliteStream::tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd> fds,
                                                                                capnp::ReaderOptions options, kj::ArrayPtr<capnp::word>) {
  unread_ = nullptr;
  return readNext(fds, options)
      .then(
          [this](Read&& message) -> kj::Promise<Read> {
            KJ_IF_MAYBE (next, message) {
              if (!keepsTooMuch(*next->reader)) {
                unread_ = watchUnread(0).eagerlyEvaluate(nullptr);
                return kj::mv(message);
              }
              beginLeaving();
              return KJ_EXCEPTION(DISCONNECTED, "the peer keeps too many answers and capabilities");
            }
            beginLeaving();
            return Read(nullptr);
          },
          [this](kj::Exception&& e) -> kj::Promise<Read> {
            beginLeaving();
            return kj::mv(e);
          });
}

// Nothing more is read. What is still to be written keeps the connection only as long as a peer that reads would need.
void PoliteStream::beginLeaving() {
  leaving_ =
      timer_.afterDelay(limits_.patienceMs * kj::MILLISECONDS).then([this] { givenUp_.fulfiller->fulfill(); }).eagerlyEvaluate(nullptr);
}

// While nobody asks for the next message: the RPC system may have hung up on the peer, and then waits to say so to one that does not read.
kj::Promise<void> PoliteStream::watchUnread(uint32_t ms) {
  constexpr uint32_t kStepMs = 500;
  return timer_.afterDelay(kStepMs * kj::MILLISECONDS).then([this, ms]() -> kj::Promise<void> {
    const bool waits = network_ != nullptr && network_->getCurrentQueueCount() > 0;
    if (!waits) return watchUnread(0);
    if (ms + kStepMs < limits_.patienceMs) return watchUnread(ms + kStepMs);
    givenUp_.fulfiller->fulfill();
    return kj::READY_NOW;
  });
}

// A message that cannot be counted is one that the RPC system will refuse.
bool PoliteStream::keepsTooMuch(capnp::MessageReader& message) {
  (void)kj::runCatchingExceptions([&] { kept_.received(message); });
  return kept_.total() > limits_.kept;
}

kj::Promise<void> PoliteStream::writeMessage(kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  kept_.sent(segments);
  return inner_.writeMessage(fds, segments);
}

kj::Promise<void> PoliteStream::writeMessages(kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) {
  for (const auto segments : messages) kept_.sent(segments);
  return inner_.writeMessages(messages);
}

kj::Promise<PoliteStream::Read> PoliteStream::readNext(kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options) {
  if (network_ == nullptr || network_->getCurrentQueueCount() <= limits_.queuedReplies) {
    stalledSince_ = nullptr;
    return stream_.tryReadWithFds(first_, 1, sizeof first_, fds.begin(), fds.size())
        .then([this, fds, options](kj::AsyncCapabilityStream::ReadResult&& got) mutable -> kj::Promise<Read> {
          if (got.byteCount == 0) return Read(nullptr);
          auto known = fds.slice(0, got.capCount);
          auto word = readRest(stream_, kj::arrayPtr(first_, 2).asBytes(), got.byteCount);
          auto late = timer_.afterDelay(limits_.messageMs * kj::MILLISECONDS).then([]() -> kj::Promise<Read> {
            return KJ_EXCEPTION(DISCONNECTED, "the peer began a message and did not end it");
          });
          return word.then([this, known, options]() mutable { return readBegun(known, options); }).exclusiveJoin(kj::mv(late));
        });
  }
  // KJ tells nobody when a write finishes, so we look again; 2 ms is far below what a reading peer would notice.
  constexpr auto kStep = 2 * kj::MILLISECONDS;
  const kj::TimePoint now = timer_.now();
  if (stalledSince_ == nullptr) stalledSince_ = now;
  if (now - KJ_ASSERT_NONNULL(stalledSince_) > limits_.patienceMs * kj::MILLISECONDS) {
    givenUp_.fulfiller->fulfill();
    return KJ_EXCEPTION(DISCONNECTED, "the peer does not read its replies");
  }
  return timer_.afterDelay(kStep).then([this, fds, options] { return readNext(fds, options); });
}

// The first word is there: the number of segments, less one, and the size of the first. The table of sizes ends at a whole word.
kj::Promise<PoliteStream::Read> PoliteStream::readBegun(kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options) {
  if (first_[0] >= limits_.segments) return KJ_EXCEPTION(DISCONNECTED, "the peer's message has too many segments");
  const size_t segments = first_[0] + size_t{1};
  auto table = kj::heapArray<capnp::word>(segments / 2 + 1);
  std::memcpy(static_cast<void*>(table.begin()), first_, sizeof first_);
  return readRest(stream_, table.asBytes(), sizeof first_).then([this, fds, options, table = kj::mv(table)]() mutable {
    return readSized(kj::mv(table), fds, options);
  });
}

kj::Promise<PoliteStream::Read> PoliteStream::readSized(kj::Array<capnp::word> table, kj::ArrayPtr<kj::AutoCloseFd> fds,
                                                        capnp::ReaderOptions options) {
  const auto bytes = table.asBytes();
  uint64_t words = 0;
  for (uint32_t i = 0; i <= first_[0]; ++i) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.begin() + sizeof size * (i + 1), sizeof size);
    words += size;
  }
  if (words > limits_.messageWords) return KJ_EXCEPTION(DISCONNECTED, "the peer's message is larger than allowed");
  options.traversalLimitInWords = limits_.messageWords;
  const size_t all = table.size() + words;
  return reserve(all * sizeof(capnp::word)).then([this, all, fds, options, table = kj::mv(table)](MessageBudget::Share&& share) mutable {
    auto message = kj::heapArray<capnp::word>(all);
    std::memcpy(static_cast<void*>(message.begin()), table.begin(), table.asBytes().size());
    return readRest(stream_, message.asBytes(), table.asBytes().size())
        .then([fds, options, message = kj::mv(message), share = kj::mv(share)]() mutable -> Read {
          kj::Own<capnp::MessageReader> reader = kj::heap<capnp::FlatArrayMessageReader>(message.asPtr(), options);
          // The share goes with the message: whoever keeps it keeps the memory.
          return capnp::MessageReaderAndFds{reader.attach(kj::mv(message), kj::mv(share)), fds};
        });
  });
}

// Waits until there is room. The message's own time limit ends the wait.
kj::Promise<MessageBudget::Share> PoliteStream::reserve(size_t bytes) {
  if (auto share = budget_.take(uid_, bytes)) return kj::mv(*share);
  return timer_.afterDelay(5 * kj::MILLISECONDS).then([this, bytes] { return reserve(bytes); });
}

Connection::Connection(kj::Own<kj::AsyncCapabilityStream> stream, kj::Timer& timer, capnp::Capability::Client bootstrap,
                       const Limits& limits, MessageBudget& budget, uint32_t uid)
    : stream_(kj::mv(stream)),
      polite_(*stream_, timer, limits, budget, uid),
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
