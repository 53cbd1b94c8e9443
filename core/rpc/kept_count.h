#pragma once
// What a peer of an RPC connection keeps in our memory: answers that it has not given back (Finish), and capabilities of ours that it has
// not released. Cap'n Proto lets a peer keep any number of both.
//
// Only counts, from the messages as they pass: whether one makes sense is the RPC system's to say, which hangs up on a peer that gives back
// what it does not have. Owner: the connection's stream. Thread: the event loop.

#include <capnp/message.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>

namespace rauha::rpc {

class KeptCount final {
 public:
  void received(capnp::MessageReader& message);
  void sent(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  uint64_t total() const noexcept { return answers_ + capabilities_; }

 private:
  void gaveBack(uint64_t count) noexcept { capabilities_ -= count < capabilities_ ? count : capabilities_; }
  uint64_t answers_ = 0, capabilities_ = 0;
  std::unordered_map<uint32_t, uint32_t> ofAnswers_, ofCalls_;  // how many capabilities each of ours brought: only those that brought some
  std::unordered_set<uint32_t> unanswered_;                     // the peer's calls that we have not answered
  std::unordered_set<uint32_t> dropped_;  // of these, the ones whose answer, with all in it, the peer does not want any more
};

}  // namespace rauha::rpc
