#pragma once
// The file system rights that a container's processes start with, as a Landlock ruleset: everything beneath "/" except making device nodes;
// device ioctls only beneath /dev; with a read-only root, writing only beneath the places that are writable. It repeats what mounts and
// capabilities already say (a second layer), and it is stackable: a task may add Landlock of its own.
//
// One ruleset per container; each started process enforces it on itself, so processes of one `exec` form a domain of their own: they cannot
// ptrace those of another exec of the same container. Signal scoping would cut them off from each other and adds nothing to a pid
// namespace: not used. Abstract sockets are scoped only in the host's network, where they would reach the host's.
//
// ABI 1 kernels are left alone: there every rename across directories would fail.

#include <vector>

#include "core/base/fd.h"

namespace rauha::agent {

struct LandlockPlan {
  int root = -1;  // O_PATH of the container's root
  int dev = -1;   // O_PATH of its /dev
  bool readOnlyRoot = false;
  std::vector<int> writable;  // with readOnlyRoot: where writing is allowed
  // Places beneath the root that get its rights once more, which allows nothing more: the kernel looks from the file upwards, at every
  // open, until all that it needs is granted, and finds it nearer. Only what no other mount shows: a rule holds for the directory wherever
  // it is seen.
  std::vector<int> again;
  bool scopeAbstractSockets = false;
};

// The ruleset, or an empty descriptor when the kernel has no usable Landlock (ABI < 2). `abi` is what is armed. Throws when it has, but
// fails.
UniqueFd makeLandlockRuleset(const LandlockPlan& plan, int& abi);

// On the calling thread; needs no_new_privs. -1 and errno on failure.
int enforceLandlockRaw(int ruleset) noexcept;

}  // namespace rauha::agent
