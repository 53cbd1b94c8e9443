#pragma once
// The daemon's socket: makes or adopts it, accepts, checks who it is, bounds how many connections there are, and keeps the connections.
//
// Whoever can connect may do everything (group rauha can become root by asking for a privileged zone): the socket's mode is the access
// control. The limits protect clients from each other. Thread: the event loop.

#include <kj/async-io.h>
#include <kj/async.h>

#include <functional>
#include <map>
#include <string>

#include "core/base/fd.h"
#include "core/rpc/connection.h"

namespace rauha::rpc {

// A listening socket at `directory`/`name`, mode 0600, or 0660 with the group when `group` is not empty and exists. A stale file is
// replaced; the caller holds the instance's lock, so no living daemon loses its socket. Any path length (bound through /proc/self/fd).
UniqueFd listenAt(const std::string& directory, const std::string& name, const std::string& group);
// The socket that systemd passed (LISTEN_FDS, sd_listen_fds(3)), or none. Clears the variables.
UniqueFd listenFromSystemd();

class Listener final : private kj::TaskSet::ErrorHandler {
 public:
  using Bootstrap = std::function<capnp::Capability::Client(const Peer&)>;
  using Refused = std::function<void(const Peer&, const std::string& why)>;
  Listener(kj::AsyncIoContext& io, Bootstrap bootstrap, Refused refused);
  // Accepts until dropped. Takes the socket over.
  void serve(UniqueFd socket);
  // Stops accepting; open connections stay. Returns the socket for draining what is in its backlog.
  UniqueFd stop();
  // Hands over one connection that was accepted elsewhere (while the daemon was about to leave).
  void adopt(UniqueFd connection);
  size_t connections() const noexcept { return total_; }
  // Monotonic time of the last accept or close.
  int64_t lastActivityNs() const noexcept { return lastActivityNs_; }

 private:
  void taskFailed(kj::Exception&& exception) override;
  void take(kj::Own<kj::AsyncIoStream> stream);
  kj::Promise<void> acceptLoop();
  static constexpr size_t kMaxConnections = 1024;  // of all users
  static constexpr size_t kMaxPerUser = 64;        // of one uid other than root
  kj::AsyncIoContext& io_;
  Bootstrap bootstrap_;
  Refused refused_;
  UniqueFd socket_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  kj::Promise<void> loop_ = nullptr;
  std::map<uint32_t, size_t> perUser_;
  size_t total_ = 0;
  int64_t lastActivityNs_ = 0;
  MessageBudget budget_{MessageBounds{}};
  kj::TaskSet open_;
};

}  // namespace rauha::rpc
