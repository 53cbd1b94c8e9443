#pragma once
// One client's connection to an agent, with limits that its size can be trusted to: a message of at most 8 MiB, few calls in flight.

#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.h>
#include <kj/async-io.h>

namespace rauha::agent {

class Connection final {
 public:
  Connection(kj::Own<kj::AsyncCapabilityStream> stream, capnp::Capability::Client bootstrap);
  KJ_DISALLOW_COPY(Connection);
  // Resolves when the client is gone.
  kj::Promise<void> closed() { return network_.onDisconnect(); }

 private:
  static capnp::ReaderOptions limits();
  kj::Own<kj::AsyncCapabilityStream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
};

}  // namespace rauha::agent
