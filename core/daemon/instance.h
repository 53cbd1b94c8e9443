#pragma once
// One instance of Rauha: its directories, its name in kernel objects, its lock.
//
// The default instance lives in /var/lib/rauha and /run/rauha and is called "rauha". A private one (--root DIR, RAUHA_ROOT) keeps
// everything below DIR and is called "rauha-" and eight hex digits of the directory's hash, so that two instances never touch each other's
// objects.

#include <string>

#include "core/base/fd.h"

namespace rauha {

struct Instance {
  std::string name;
  std::string root;        // "/" for the default instance
  std::string stateDir;    // mode 0700
  std::string runtimeDir;  // mode 0755 for the default instance (its socket is for the group), else 0700
  std::string configFile;  // need not exist, unless it was named
  std::string pluginDir;   // beside the program: ../lib/rauha/plugins
  std::string libexecDir;  // where rauha-shim is
  std::string socketName = "rauhad.sock";
};

// Derives the paths and makes the directories. root empty: the default instance. Throws Error "daemon".
Instance makeInstance(const std::string& root);

// One daemon per instance: an exclusive lock on <runtime>/rauhad.lock, which holds our pid. Throws Error busy that names the other pid.
// patienceMs: how long to wait for one that is on its way out.
UniqueFd lockInstance(const Instance& instance, uint32_t patienceMs = 0);

// Moves this process out of its caller's control groups into the instance's own ("<instance>/daemon"), so that what limits or kills the
// caller does not reach the daemon and the zones. Where a hierarchy does not allow it, the process stays; returns what stayed, for the log.
std::string leaveCallersGroups(const Instance& instance);
// At the end of a daemon that did: back to the roots, and our own empty groups go.
void removeOwnGroups(const Instance& instance) noexcept;

}  // namespace rauha
