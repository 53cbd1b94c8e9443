#pragma once
// What a policy may not say at once, although each part alone is fine.

#include <schemas/policy.capnp.h>

#include <string_view>

#include "core/policy/section.h"

namespace rauha::policy {

// Does the policy itself switch this layer off? Then why, else "".
std::string_view switchedOff(schema::Policy::Reader policy, std::string_view layer) noexcept;

// root: the document's section, for lines.
void noteContradictions(Section& root, schema::Policy::Reader policy);

}  // namespace rauha::policy
