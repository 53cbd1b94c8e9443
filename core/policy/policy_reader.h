#pragma once
// From the tree of a policy's TOML to the schema: every section, then what contradicts what. The values' meaning is in docs/policy.md.

#include <schemas/policy.capnp.h>

#include <string>
#include <vector>

#include "core/policy/section.h"
#include "core/policy/toml_document.h"
#include "core/policy/unavailable.h"

namespace rauha::policy {

// Fills `out` (fresh) and notes what is wrong; with problems, `out` is not to be used. Returns what is valid and cannot be run yet.
std::vector<Notice> readPolicy(const TomlNode& document, schema::Policy::Builder out, Problems& problems);

// What an accepted policy should be looked at twice for.
std::vector<std::string> policyWarnings(schema::Policy::Reader policy);

}  // namespace rauha::policy
