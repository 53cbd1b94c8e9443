#pragma once
// What the body of a case works with. It runs in the case's child process; a verdict leaves by exception.

#include <map>
#include <memory>
#include <random>
#include <rauha/testing/conformance.hpp>
#include <rauha/testing/fake_host.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace rauha::conformance {

struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What is being done, in memory that outlives the child: when the plugin dies in the middle, the report says in what.
struct Progress {
  char step[512];
};

class Context final {
 public:
  Context(const Options& o, Kind k, uint64_t caseSeed, std::string dir, std::string name, Progress* progress)
      : options(o), kind(k), random(caseSeed), directory(std::move(dir)), instance(std::move(name)), progress_(progress) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Said before each thing that might kill us.
  void step(const std::string& what);
  [[noreturn]] void fail(const std::string& seen) const { throw Failed(seen); }
  [[noreturn]] void skip(const std::string& why) const { throw Skipped(why); }
  // Collects: several findings of one case are reported together.
  void note(const std::string& seen);
  void finish() const;  // throws Failed when something was noted

  testing::Plugin load();

  const Options& options;
  const Kind kind;
  std::mt19937_64 random;
  const std::string directory;                // private, empty at the start
  const std::string instance;                 // the name that the fake hosts of the case give
  std::map<std::string, std::string> memory;  // of the drivers: what they found out once for the whole case

 private:
  Progress* progress_;
  std::vector<std::string> notes_;
};

// A text from a plugin, fit for a report: one line, bounded, quoted.
std::string inQuotes(std::string_view text);
std::string statusText(rauha_status status);

}  // namespace rauha::conformance
