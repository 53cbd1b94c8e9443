#pragma once
// The few system calls that need a type around them: descriptors come back owned, failures are rauha::Error of class "zone" whose text
// names the step and the object. Nothing here decides anything. Functions that end in `Raw` neither allocate nor throw (they return -1 and
// set errno): they are for the stretch between fork and exec.

#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/fd.h"

namespace rauha::sys {

// ---- processes ----

struct Clone {
  uint64_t flags = 0;  // CLONE_* without CLONE_PIDFD and CLONE_INTO_CGROUP, which are implied
  int cgroupFd = -1;   // v2 group to be born in; -1: the caller's
};
struct Child {
  pid_t pid = 0;   // 0 in the child
  UniqueFd pidfd;  // only in the parent
};
// Forks with the parent's memory copied: the caller must be single-threaded if the child is to allocate.
Child clone3(const Clone& options, std::string_view what);
UniqueFd pidfdOpen(pid_t pid);
// False when the process is gone.
bool pidfdSendSignal(int pidfd, int signal);
// setns(2) with a pidfd and any number of namespaces.
void setns(int fd, int flags, std::string_view what);
void unshare(int flags, std::string_view what);
// The caller's oom_score_adj becomes 0: the agent protects itself from the machine's out-of-memory killer, and what it starts must not
// inherit that. Raising needs no right; a score that is higher already and may not be lowered stays, and that is fine. Needs /proc.
// Async-signal-safe.
bool resetOomScoreRaw() noexcept;
int closeRangeRaw(unsigned first, unsigned last, unsigned flags) noexcept;

// ---- paths ----

// openat2(2). `how.resolve` decides what the path may cross.
UniqueFd openat2(int dirfd, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve, std::string_view what);
int openat2Raw(int dirfd, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) noexcept;

// ---- mounts, by descriptors only ----

struct MountOption {
  const char* key;
  std::string value;  // empty: a flag
};
// A fresh file system that is attached nowhere yet. attributes: MOUNT_ATTR_*.
UniqueFd newMount(const char* type, std::initializer_list<MountOption> options, unsigned attributes, std::string_view what);
// A detached copy of the mount at path (or of dirfd itself with an empty path).
UniqueFd cloneMount(int dirfd, const char* path, bool recursive, std::string_view what);
struct MountChange {
  uint64_t set = 0, clear = 0;  // MOUNT_ATTR_*
  int idmapUserns = -1;         // id-map by this user namespace
  bool makePrivate = true;
  bool recursive = false;
};
void setMountAttributes(int mountFd, const MountChange& change, std::string_view what);
int setMountAttributesRaw(int mountFd, const MountChange& change) noexcept;
// Attaches a detached mount onto what `target` refers to; no path is resolved.
void attachMount(int mountFd, int target, std::string_view what);
// "." becomes the root of this mount namespace; the old root is detached. The caller's working directory is the new root before and after.
void pivotToCwd();

// ---- confinement ----

int seccompFilterRaw(const void* program, uint16_t instructions) noexcept;
// 0: the kernel has no Landlock or it is off.
int landlockAbi() noexcept;
int capsetRaw(uint64_t effective, uint64_t permitted, uint64_t inheritable) noexcept;
int keyctlJoinSessionRaw() noexcept;

}  // namespace rauha::sys
