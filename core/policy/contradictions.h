#pragma once
// What a policy may not say at once, although each part alone is fine.

#include <schemas/policy.capnp.h>

#include "core/policy/section.h"

namespace rauha::policy {

// root: the document's section, for lines.
void noteContradictions(Section& root, schema::Policy::Reader policy);

}  // namespace rauha::policy
