#pragma once
// One RPC connection with limits, for peers that may be hostile.
//
// Cap'n Proto 0.9.2 queues replies without bound and counts only unanswered calls, so a peer that calls and never reads costs about 9 KiB a
// call, and dropping it then frees the queue recursively (stack overflow). PoliteStream therefore stops reading from a peer whose
// own replies are not being read, and gives up on it after a while. Only the trusted side may do this: if both did, they would deadlock.
// It also reads the messages itself: what a peer has begun must be there soon, and fits into the budget that all connections share; what it
// keeps of our answers is counted (kept_count.h).
//
// Owner: the accept loop's task set. Thread: the event loop.

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/timer.h>

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/fd.h"
#include "core/rpc/kept_count.h"
#include "core/rpc/message_budget.h"
#include "core/rpc/reply_limit.h"

namespace rauha::rpc {

struct Peer {
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Limits {
  uint64_t messageWords = 512 * 1024;  // of the peer's. 4 MiB: a policy text plus argv and environment of the largest size the kernel takes
  uint32_t nesting = 32;
  uint32_t flowWords = 64 * 1024;  // of unanswered calls
  uint32_t descriptorsPerMessage = 4;
  uint32_t queuedReplies = 64;  // beyond this we stop reading
  uint32_t patienceMs = 5000;   // … and after this we hang up
  uint32_t segments = 512;      // of one message
  uint32_t kept = 1024;         // answers that the peer has not given back, and capabilities that it kept of those it has
  // From the first byte of a message to its last. Each byte resets nothing: one that trickles is cut off too.
  uint32_t messageMs = 10000;
  uint64_t replyWords = kMostReplyWords;  // of one message of ours
};

class PoliteStream final : public capnp::MessageStream {
 public:
  PoliteStream(kj::AsyncCapabilityStream& stream, kj::Timer& timer, const Limits& limits, MessageBudget& budget, uint32_t uid)
      : stream_(stream), inner_(stream), timer_(timer), limits_(limits), budget_(budget), uid_(uid) {}
  void watch(capnp::TwoPartyVatNetwork& network) { network_ = &network; }
  // Resolves when the peer's time is up. The RPC system alone would then wait for its queue to drain, which this peer never lets happen.
  kj::Promise<void> onGivenUp() { return kj::mv(givenUp_.promise); }
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options,
                                                                    kj::ArrayPtr<capnp::word> scratch) override;
  kj::Promise<void> writeMessage(kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
  kj::Maybe<int> getSendBufferSize() override { return inner_.getSendBufferSize(); }
  kj::Promise<void> end() override { return inner_.end(); }

 private:
  using Read = kj::Maybe<capnp::MessageReaderAndFds>;
  kj::Promise<Read> readNext(kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options);
  void beginLeaving();
  kj::Promise<void> watchUnread(uint32_t ms);
  bool keepsTooMuch(capnp::MessageReader& message);
  kj::Promise<Read> readBegun(kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options);
  kj::Promise<Read> readSized(kj::Array<capnp::word> table, kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options);
  kj::Promise<MessageBudget::Share> reserve(size_t bytes);
  kj::AsyncCapabilityStream& stream_;
  capnp::AsyncCapabilityMessageStream inner_;
  kj::Timer& timer_;
  const Limits limits_;
  MessageBudget& budget_;
  const uint32_t uid_;
  uint32_t first_[2] = {};  // the first word of the message that is being read
  capnp::TwoPartyVatNetwork* network_ = nullptr;
  KeptCount kept_;
  kj::Maybe<kj::TimePoint> stalledSince_;  // the peer has so many unread replies that nothing more is read from it
  kj::PromiseFulfillerPair<void> givenUp_ = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> unread_ = nullptr;
  kj::Promise<void> leaving_ = nullptr;  // after the last message: who does not read what is still to be said is given up
};

class Connection final {
 public:
  Connection(kj::Own<kj::AsyncCapabilityStream> stream, kj::Timer& timer, capnp::Capability::Client bootstrap, const Limits& limits,
             MessageBudget& budget, uint32_t uid);
  // Once. Resolves when the peer is gone or does not read any more; the connection is then to be dropped.
  kj::Promise<void> onDisconnect() { return network_.onDisconnect().exclusiveJoin(polite_.onGivenUp()); }

 private:
  kj::Own<kj::AsyncCapabilityStream> stream_;
  PoliteStream polite_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
};

// Who is at the other end (SO_PEERCRED). Throws Error "daemon" when the kernel does not say.
Peer peerOf(int fd);

}  // namespace rauha::rpc
