#pragma once
// Starts a program as the first process of a pid namespace of its own, with six descriptors and nothing else of ours.
//
// The daemon has threads: between clone and exec only what is async-signal-safe happens.

#include <sys/types.h>

#include <string>

#include "core/base/fd.h"

namespace rauha::plugin {

struct SpawnedHost {
  pid_t pid = 0;
  UniqueFd pidfd;
  UniqueFd socket;
  UniqueFd reports;  // its descriptor 5
};

// program: absolute; its arguments are plugin and instance, so that people see whose it is. file: borrowed, becomes descriptor 4. Standard
// streams are /dev/null, 3 is the socket. No environment, a session of its own, default signals. Throws Error "plugin".
SpawnedHost spawnHost(const std::string& program, const std::string& plugin, const std::string& instance, int file);

}  // namespace rauha::plugin
