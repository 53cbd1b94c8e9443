#pragma once
// One RPC connection to rauhad, with limits, and the translation of what Cap'n Proto throws into errors that people understand.
//
// Owner: the command that runs. Thread: the event loop's (the program has one).

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <schemas/client.capnp.h>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "frontends/cli/instance_paths.h"

namespace rauha::cli {

class Connection final {
 public:
  // socket: connected; taken over.
  Connection(kj::AsyncIoContext& io, UniqueFd socket);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  schema::Rauha::Client& rauha() { return rauha_; }
  // Has the daemon said anything yet? False after a loss means that it never looked at what we sent (it was leaving when we came), so that
  // the same request may be sent to its successor.
  bool answered() const noexcept { return answered_; }

 private:
  kj::Own<kj::AsyncCapabilityStream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  schema::Rauha::Client rauha_;
  bool answered_ = false;
  kj::Promise<void> watch_;
};

// A descriptor that travels beside a message. The descriptor is borrowed and must outlive the call.
schema::Descriptor::Client passDescriptor(int fd);

// What a failed call means. `what`: "run the task", for the text.
Error translate(const kj::Exception& exception, const InstancePaths& paths);
bool isLost(const kj::Exception& exception) noexcept;

// Connects to the instance's socket, also when its path is longer than an address may be. -1 (no descriptor) when nobody listens there
// (no such file, connection refused). Throws Error "daemon": permission denied, a stranger's daemon, too many waiting.
UniqueFd tryConnect(const InstancePaths& paths);

}  // namespace rauha::cli
