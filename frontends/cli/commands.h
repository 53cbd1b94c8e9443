#pragma once
// The commands, one function each; main's table of contents. A command returns the exit status; what it throws becomes the error document
// or line in main, except for `sandbox`, whose own document covers every path.

#include "frontends/cli/arguments.h"

namespace rauha::cli {

int sandboxCommand(const Invocation& invocation);
int diffCommand(const Invocation& invocation);
int applyCommand(const Invocation& invocation);
int taskCommand(const Invocation& invocation);
int zoneCommand(const Invocation& invocation);
int policyCommand(const Invocation& invocation);
int imageCommand(const Invocation& invocation);
int loginCommand(const Invocation& invocation);
int logoutCommand(const Invocation& invocation);
int doctorCommand(const Invocation& invocation);
int pluginCommand(const Invocation& invocation);
int eventsCommand(const Invocation& invocation);
int daemonCommand(const Invocation& invocation);
int versionCommand(const Invocation& invocation);

// Runs a function of a command group ("zone create"). Prints the group's help when asked for; throws Error "usage" for an unknown name.
struct Subcommand {
  const char* name;
  const char* summary;
  int (*run)(const Invocation&);
};
int dispatch(const char* group, const Subcommand* subcommands, size_t count, const Invocation& invocation);

}  // namespace rauha::cli
