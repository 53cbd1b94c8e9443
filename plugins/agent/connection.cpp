#include "plugins/agent/connection.h"

namespace rauha::agent {
namespace {
constexpr unsigned kDescriptorsPerMessage = 160;
constexpr uint64_t kTraversalWords = 1u << 20;
constexpr size_t kCallWords = 1u << 20;
}  // namespace

capnp::ReaderOptions Connection::limits() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kTraversalWords;
  options.nestingLimit = 32;
  return options;
}

Connection::Connection(kj::Own<kj::AsyncCapabilityStream> stream, capnp::Capability::Client bootstrap)
    : stream_(kj::mv(stream)),
      network_(*stream_, kDescriptorsPerMessage, capnp::rpc::twoparty::Side::SERVER, limits()),
      rpc_(capnp::makeRpcServer(network_, kj::mv(bootstrap))) {
  rpc_.setFlowLimit(kCallWords);
}

}  // namespace rauha::agent
