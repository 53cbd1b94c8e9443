#pragma once
// The daemon on demand: connect, and when nobody listens start `rauhad --on-demand` beside our own program, so that the first command needs
// no set-up. Two programs that race start one daemon: whoever holds <runtime>/start.lock starts it, the others connect to it.
//
// The daemon gets a session of its own, no descriptor of ours but the one on which it says that it is ready, a small environment, "/" as
// its directory, default signal dispositions, and <runtime>/rauhad.log for what it prints.

#include <chrono>
#include <cstdint>

#include "core/base/fd.h"
#include "frontends/cli/instance_paths.h"
#include "frontends/cli/signals.h"

namespace rauha::cli {

struct StartOptions {
  std::chrono::milliseconds patience{60'000};  // the daemon cleans up after a crash before it is ready
  Signals* signals = nullptr;                  // when given, an ending signal ends the waiting: Error cancelled
};

// A connected socket. Throws Error "daemon" that says what is in the way: only root may start the default instance's daemon, no rauhad
// beside this program, its own first error line, or no answer in time.
UniqueFd connectOrStart(const InstancePaths& paths, const StartOptions& options);

}  // namespace rauha::cli
