#pragma once
// User namespaces that exist only to id-map a mount.

#include <cstdint>

#include "core/base/fd.h"

namespace rauha::agent {

// A user namespace whose id `inner` is the caller's id `outer`, for one user and one group; every other id is unmapped. Made by a child
// that lives until the descriptor is open. The caller needs the host's CAP_SETUID and CAP_SETGID and a /proc of the host's pid namespace.
UniqueFd makeOneIdUserns(uint32_t innerUid, uint32_t outerUid, uint32_t innerGid, uint32_t outerGid);

}  // namespace rauha::agent
