#pragma once
// The real program, run by tests in an instance of its own: a temporary directory with `rauha`, the fake daemon as `rauhad` beside it, and
// a root.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/fd.h"

namespace rauha::cli::testing {

struct Finished {
  int status = -1;  // exit status; 128+N when a signal ended it
  std::string out, err;
  // The one document on standard output; fails the test when it is none, or more than one.
  nlohmann::json json() const;
};

struct StartSpec {
  std::vector<std::string> words;
  int standardInput = -1;   // -1: /dev/null
  int standardOutput = -1;  // -1: captured
  bool closeInput = false, closeOutput = false;
  bool newSession = false;  // with standardInput as controlling terminal
  std::vector<std::string> environment;
};

// A running program. The destructor kills what still runs.
class Program final {
 public:
  Program(const std::string& path, const StartSpec& spec);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  void signal(int number) const;
  // Reads both streams to their end and waits; fails the test after the limit.
  Finished finish(std::chrono::seconds limit = std::chrono::seconds(20));
  pid_t pid() const { return pid_; }
  // Standard output as it comes, until it has `text`.
  bool outputHas(const std::string& text);

 private:
  bool pump(int timeoutMs);
  pid_t pid_ = -1;
  UniqueFd out_, err_;
  Finished so_;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest();
  ~CliTest() override;
  // Adds --root behind the command's name.
  StartSpec spec(std::vector<std::string> words) const;
  Finished run(std::vector<std::string> words) const;
  Finished run(const StartSpec& spec) const;
  Finished runWithInput(std::vector<std::string> words, const std::string& input) const;
  // What the fake daemon noted; waits until a line has `text`.
  bool daemonNoted(const std::string& text) const;
  std::string calls() const;
  void mode(const std::string& words) const;
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string file(const std::string& name, const std::string& content) const;
  std::string directory_, program_, root_;
};

}  // namespace rauha::cli::testing
