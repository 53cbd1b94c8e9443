#pragma once
// The command line of rauhad.

#include <optional>
#include <string>

namespace rauha {

struct Options {
  std::string root;    // --root DIR, else RAUHA_ROOT; empty: the default instance
  std::string config;  // --config FILE; empty: the instance's, which need not exist
  bool onDemand = false;
  int readyFd = -1;
};

// nullopt: --help or --version was printed. Throws Error "usage".
std::optional<Options> parseOptions(int argc, char** argv);

}  // namespace rauha
