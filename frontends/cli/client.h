#pragma once
// The daemon for commands that ask one thing and wait: connects (starting the daemon when nobody listens), calls, and turns what goes wrong
// into an Error. `sandbox` has its own, because it streams.

#include <kj/async-io.h>

#include <memory>
#include <optional>

#include "frontends/cli/connection.h"
#include "frontends/cli/daemon_start.h"

namespace rauha::cli {

class Client final {
 public:
  enum class Start { onDemand, never };
  // Throws Error "daemon". With Start::never and no daemon: notFound.
  explicit Client(const InstancePaths& paths, Start start = Start::onDemand);

  // make: takes a schema::Rauha::Client&, returns the promise of its call. A daemon that was leaving when we came is asked again; a call
  // that may have been seen is not repeated. The outcome inside the response is the caller's to look at.
  template <typename Make>
  auto call(Make make) {
    for (int attempt = 1;; ++attempt) {
      try {
        return make(connection_->rauha()).wait(io_.waitScope);
      } catch (const kj::Exception& e) {
        if (!isLost(e) || connection_->answered() || attempt == 3 || start_ == Start::never) throw translate(e, paths_);
      }
      connect();
    }
  }

  // For a capability that an earlier call returned. It must not outlive this object.
  template <typename Promise>
  auto wait(Promise&& promise) {
    try {
      return promise.wait(io_.waitScope);
    } catch (const kj::Exception& e) {
      throw translate(e, paths_);
    }
  }

 private:
  void connect();
  const InstancePaths paths_;
  Start start_;
  kj::AsyncIoContext io_;
  std::unique_ptr<Connection> connection_;
};

// One line on standard error when the daemon speaks another protocol version (major.minor) than this program.
void warnAboutVersion(schema::ServerInfo::Reader server);

// "0.1.0"
const char* programVersion() noexcept;

}  // namespace rauha::cli
