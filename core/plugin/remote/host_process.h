#pragma once
// One rauha-plugin-host process: started, spoken to, ended and explained (schemas/plugin_host.capnp).
//
// Owner: RemotePlugin, one at a time. Thread: that plugin's event loop; the destructor kills the process and waits for it. The process ends
// with the thread that made it (PR_SET_PDEATHSIG), with its socket, or here.

#include <kj/async-io.h>
#include <schemas/plugin_host.capnp.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/coro.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace rauha::plugin {

struct HostStart {
  std::string program;                 // absolute path of rauha-plugin-host
  std::string plugin, instance, path;  // name by the note; the daemon's instance; where the file is, for messages
  int file = -1;                       // borrowed: the checked plugin file
  // Fills in the rest of the setup.
  std::function<void(schema::HostSetup::Builder)> setup;
};

class HostProcess final {
 public:
  // Starts the process; throws Error "plugin" when that fails. What it says of itself comes through PluginHost.
  HostProcess(kj::AsyncIoContext& io, const HostStart& start);
  ~HostProcess() noexcept(false);
  KJ_DISALLOW_COPY(HostProcess);

  schema::PluginHost::Client& host() noexcept;
  pid_t pid() const noexcept;
  // Resolves when the process has ended or its connection is lost (it is then killed). Any number of times; never fails.
  kj::Promise<void> onEnd();
  bool ended() const noexcept;
  // "ended by SIGSEGV", "exited with status 3", or the reason given to kill(). After onEnd().
  const std::string& how() const noexcept;
  // A layer of its confinement that could not be armed: why the process refused to go on. After onEnd().
  const std::optional<Error>& refusal() const noexcept;
  // Ends it now. why: continues "the process of plugin x …".
  void kill(std::string why) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rauha::plugin
