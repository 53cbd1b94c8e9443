#include "core/zone/agent_client.h"

#include <capnp/message.h>
#include <kj/io.h>

#include "core/base/kj_error.h"

namespace rauha {
namespace {
// A shim is ours, but it handles what the zone writes: its messages are bounded like a guest's.
capnp::ReaderOptions readerOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 256 * 1024;
  options.nestingLimit = 32;
  return options;
}

schema::Agent::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message(8);
  auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(vat).castAs<schema::Agent>();
}
}  // namespace

kj::Exception shimIsSilent() {
  return toKj(Error("zone", Code::deadline, "the shim of the zone does not answer",
                    "it is stopped or the machine is very busy; `rauha zone delete --force` ends a zone without it"));
}

AgentClient::AgentClient(kj::LowLevelAsyncIoProvider& provider, UniqueFd socket)
    : stream_(provider.wrapUnixSocketFd(kj::AutoCloseFd(socket.release()))),
      // The limit is for incoming descriptors, of which there are none; 0 would also stop ours from being sent.
      network_(*stream_, 1, capnp::rpc::twoparty::Side::CLIENT, readerOptions()),
      rpc_(capnp::makeRpcClient(network_)),
      agent_(bootstrap(rpc_)),
      lost_(network_.onDisconnect().fork()) {}

}  // namespace rauha
