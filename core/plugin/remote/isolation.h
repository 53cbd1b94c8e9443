#pragma once
// How the process of one plugin is confined: what an operator may widen, and what is there without being asked for.
//
// A value, from `[plugin.NAME.process]` of rauha.toml. Everything else of the confinement is fixed (core/plugin_host/confine.h).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::plugin {

struct ProcessIsolation {
  bool network = false;           // the host's network, for plugins that fetch
  uint64_t capabilities = 0;      // bit N: capability N
  std::vector<std::string> read;  // absolute; seen read-only in addition to hostFiles()
  uint64_t memoryBytes = 0;       // limit of its data; 0: none
};

// What unpacking an image into layers takes: chown, dac_override, fowner, fsetid, mknod, setfcap; 2 GiB.
ProcessIsolation defaultIsolation();

// The number of a capability that a plugin's process may be given; throws Error invalid for an unknown name, denied for one that would
// undo the confinement ("sys_admin", "sys_ptrace", …).
unsigned isolationCapability(std::string_view name);
// "chown, fowner"
std::string capabilityNames(uint64_t mask);

// The part of the host that every plugin's process sees: programs, libraries, and those files of /etc that are for everybody; never keys or
// passwords. Only what exists; absolute, sorted.
std::vector<std::string> hostFiles();

// Is `path` (absolute, without "..") one of `roots` or beneath one?
bool isBeneath(std::string_view path, const std::vector<std::string>& roots) noexcept;

}  // namespace rauha::plugin
