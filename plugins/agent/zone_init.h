#pragma once
// Process 1 of a zone's pid namespace. It exists so that the zone's own processes are not process 1 (which ignores SIGTERM and must reap),
// and so that the whole zone dies with the agent: when the control socket reaches its end, or the agent dies (PDEATHSIG), it exits, and the
// kernel kills everything in the namespace. It holds nothing (an empty read-only root, one descriptor, no capabilities) and can do nothing
// (seccomp strict mode: read, write, exit). Orphans are reaped by the kernel because SIGCHLD is ignored.

#include <cstddef>
#include <string>
#include <vector>

namespace rauha::agent {

struct ZoneInitSpec {
  std::string hostname;
  std::vector<int> v1TaskFds;   // to enrol itself in the v1 groups
  int emptyRoot = -1;           // a detached, empty, read-only mount
  bool ownNetwork = true;       // bring up lo
  char* commandLine = nullptr;  // the agent's own, writable: the zone sees it as that of its process 1
  size_t commandLineSize = 0;
  bool userNamespace = true;  // wait for the id maps, then become the zone's root
};

// In the child; `control` is its end of a stream socket pair. Protocol: when the namespaces are set up it waits for one byte (the maps are
// written), drops everything, answers with a ZoneInitAnswer, and blocks until the end of the socket. Never returns.
[[noreturn]] void runZoneInit(const ZoneInitSpec& spec, int control) noexcept;

struct ZoneInitAnswer {
  int step = 0;   // 0: all is well
  int error = 0;  // errno of the step that failed
};
// "bring up lo"
const char* zoneInitStepName(int step) noexcept;

}  // namespace rauha::agent
