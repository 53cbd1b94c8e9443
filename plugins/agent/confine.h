#pragma once
// The last steps of a zone's process before it belongs to somebody else: limits, identity, capabilities, no_new_privs, Landlock, seccomp.
// Runs in the child, which is single-threaded. Whatever of user namespace, capabilities, no_new_privs or seccomp cannot be armed ends the
// start (Error of class "zone"): fail closed. Landlock is armed as far as the kernel goes; what is missing becomes a note.

#include <cstdint>
#include <vector>

#include "plugins/agent/report.h"
#include "plugins/agent/user.h"
#include "plugins/agent/zone.h"

namespace rauha::agent {

// Before the user namespace is entered: raising a hard limit needs the host's rights.
void setLimits(const Zone& zone, Armed& armed);
// Bounding set, groups, gid, uid, capabilities, fresh session keyring; the process is not dumpable afterwards.
void becomeUser(const Zone& zone, const User& user, Armed& armed);
// no_new_privs, then Landlock when there is a ruleset.
void armLandlock(int ruleset, int abi, Armed& armed);
// The filters, last of all: noSuid adds the one that refuses set-user-ID bits.
void armSeccomp(const Zone& zone, bool noSuid, Armed& armed);

// "cap_chown" without its prefix; "cap_41" style numbers for unknown ones.
std::string capabilityName(unsigned number);

}  // namespace rauha::agent
