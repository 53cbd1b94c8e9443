#pragma once
// The short form of a request that a task's record has for people: what was run, from which image, on which
// repository. Pure; any thread.

#include <string>
#include <vector>

namespace rauha::rpc {

struct RequestSummary {
  std::string image;
  std::vector<std::string> command;
  std::string repository, repoMode;  // as the client named it; "none", "ro", "rw", "overlay"
};

// json: TaskRow::requestSummary. What is not there, or is no such text, is empty.
RequestSummary readRequestSummary(const std::string& json);

}  // namespace rauha::rpc
