#pragma once
// The conformance kit: the rules of the plugin ABI as cases that run against a plugin. Link rauha_sdk_conformance.
//
// `rauha-plugin-check` is its command line; conformance_gtest.hpp registers the same cases as GoogleTest tests. A case runs in a child
// process, in a private temporary directory, with a fake host (fake_host.hpp) and a time limit: what a plugin does to the process that it
// is loaded into, or leaves behind, ends with the case. Each case judges one rule and nothing else.
//
// Nothing here needs the daemon. Cases that make zones, control groups or networks need root; without it they are skipped with the
// reason, never passed.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../plugin.h"

namespace rauha::conformance {

enum class Kind { backend, image, enforcer, net };
const char* nameOf(Kind kind) noexcept;  // as in the note: "backend", "image", …

struct Options {
  std::string plugin;                        // the file
  const rauha_plugin* (*entry)() = nullptr;  // instead of a file: linked into the test; what only a file has is then skipped
  std::optional<Kind> kind;                  // without it, as the file's note says, or what the linked plugin provides
  std::string config;                        // TOML of the plugin's own section, given to every create
  // image: references that the plugin can resolve. "@dir", "@oci", "@oci-archive" and "@docker-archive" stand for the path of a small image
  // that is made for the case. Empty: what Rauha's own image plugin takes is tried ("oci:@oci", "dir:@dir", "host").
  std::vector<std::string> references;
  std::string libexecDir = "/nonexistent";       // backend: where rauha-shim is
  uint64_t seed = 1;                             // of everything that is random
  unsigned rounds = 100;                         // of the cases about resources
  unsigned randomInputs = 300;                   // of random.inputs
  unsigned kills = 12;                           // of the cases about crashes
  std::chrono::milliseconds limit{60'000};       // of one case; after it the child is killed and the case has failed
  std::chrono::milliseconds cancelLimit{5'000};  // how long a cancelled call may go on
  bool inProcess = false;  // run the cases in this process: for a debugger. No time limit; state may leak between cases
};

enum class Verdict { passed, failed, skipped };

struct Result {
  Verdict verdict = Verdict::passed;
  std::string seen;  // what was wrong, or why the case was skipped: lines of text
  double seconds = 0;
};

class Context;  // internal

struct Case {
  const char* name;   // "errors.text"
  const char* rule;   // what must hold, one sentence
  const char* where;  // where the rule stands: header and place
  unsigned kinds;     // bit per Kind
  bool random;        // depends on the seed
  void (*body)(Context&);
};

// All cases of a kind, in the order in which they are worth reading.
std::vector<Case> casesOf(Kind kind);

// What a plugin is, from its file's note or its descriptor, without running the file's code. Throws std::runtime_error when it is no
// plugin.
Kind kindOf(const Options& options);

// Runs one case. Throws std::runtime_error only when it cannot be run at all (no memory, no processes, no temporary directory).
Result run(const Case& which, const Options& options);

}  // namespace rauha::conformance
