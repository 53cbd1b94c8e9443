#pragma once
// Which key of a policy cannot change while a zone lives under it. Only limits can: they are written to control groups; everything else is
// part of processes that already run.

#include <schemas/policy.capnp.h>

#include <string>

namespace rauha {
// The first key that differs and cannot change ("network", "resources.open_files"), or "".
std::string unchangeableDifference(schema::Policy::Reader now, schema::Policy::Reader next);
}  // namespace rauha
