#pragma once
// What a plugin could have changed in the process that it is loaded into, and what of a zone could lie about on the machine: taken before
// and after, and compared.

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace rauha::conformance {

// This process: everything that loading or the entry has no business with.
struct ProcessState {
  std::map<int, std::string> descriptors;  // number to what it is
  std::set<int> threads;
  std::vector<std::string> environment;
  std::string signals;  // handlers, mask and ignored signals, as text
  std::string locale, workingDirectory, umask;
  std::set<int> children;
  size_t mappings = 0;
};
ProcessState processState();

// Each difference in words, mappings left out. Empty: none.
std::vector<std::string> differences(const ProcessState& before, const ProcessState& after);

// Objects of the machine that carry the instance's name: control groups, mounts, processes, links, files below /run. And every file below
// `roots`. Each as "cgroup /sys/…", "process 12 (…)".
std::set<std::string> objectsOf(const std::string& instance, const std::vector<std::string>& roots);

}  // namespace rauha::conformance
