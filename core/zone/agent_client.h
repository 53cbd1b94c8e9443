#pragma once
// Core's end of the agent protocol (schemas/agent.capnp): one connection to one zone's shim.
//
// Owner: the Zone. Thread: the event loop. A lost shim shows as onLost(); calls then fail with Error of class "zone", code io. One that
// hangs shows as nothing at all: whoever waits for an answer without which the daemon, a zone or a client would be stuck uses answered().

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <schemas/agent.capnp.h>

#include "core/base/fd.h"

namespace rauha {

// An open descriptor as a capability, for ContainerSpec.descriptors.
class DescriptorServer final : public schema::Descriptor::Server {
 public:
  explicit DescriptorServer(UniqueFd fd) : fd_(std::move(fd)) {}
  kj::Maybe<int> getFd() override { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// A shim answers in milliseconds. One that has said nothing for this long is taken for hung, and its zone is ended from outside.
constexpr kj::Duration kShimPatience = 3 * kj::SECONDS;
// For what may copy, format and mount on a busy machine.
constexpr kj::Duration kShimWorkPatience = 120 * kj::SECONDS;

kj::Exception shimIsSilent();
// The answer, or Error of class "zone", code deadline, once `silence` has resolved.
template <typename T>
kj::Promise<T> answered(kj::Promise<T> answer, kj::Promise<void> silence) {
  return answer.exclusiveJoin(silence.then([]() -> kj::Promise<T> { return shimIsSilent(); }));
}

class AgentClient final {
 public:
  // `socket` is connected and speaks the protocol; taken over.
  AgentClient(kj::LowLevelAsyncIoProvider& provider, UniqueFd socket);
  schema::Agent::Client& agent() { return agent_; }
  // Resolves when the connection is gone, for whatever reason. Any number of times.
  kj::Promise<void> onLost() { return lost_.addBranch(); }

 private:
  kj::Own<kj::AsyncCapabilityStream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  schema::Agent::Client agent_;
  kj::ForkedPromise<void> lost_;
};

}  // namespace rauha
