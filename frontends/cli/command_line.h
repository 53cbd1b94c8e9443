#pragma once
// The first look at argv: global options, the command's name, and whether --json was asked for, before anything can fail. Pure.

#include <string>
#include <vector>

#include "frontends/cli/arguments.h"

namespace rauha::cli {

struct CommandLine {
  std::string command;  // "" when there is none
  Invocation invocation;
  bool help = false, version = false;  // --help, --version before the command's name
};

// words: argv without the program's name. Throws Error "usage" for an unknown option before the command's name.
CommandLine readCommandLine(const std::vector<std::string>& words);
// Is --json among the words before "--"? For errors of readCommandLine itself.
bool wantsJson(const std::vector<std::string>& words) noexcept;

}  // namespace rauha::cli
