#pragma once
// The system calls that a plugin's process may make: an allow-list for code that reads and writes files, starts threads and waits. What is
// not on it fails with EPERM, so that a library that merely tries does not die; calls of another architecture kill.

#include <cstddef>

namespace rauha::plugin_host {

// Loads the filter into the calling thread, which must be the only one; needs no_new_privs. Returns the number of calls that it allows.
// Throws Error "plugin".
size_t loadSyscallFilter(bool network);

}  // namespace rauha::plugin_host
