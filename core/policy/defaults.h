#pragma once
// What a policy means by what it does not say: the defaults of each type. docs/policy.md prints them, the files in policies/ spell them
// out, and a test holds the three together.

#include <schemas/policy.capnp.h>

#include <span>
#include <string_view>

namespace rauha::policy {

// Fills `out`, which is fresh, with everything but name, digest and source.
void writeDefaults(schema::ZoneType type, schema::Policy::Builder out);

// The layers that type strict requires; a strict policy may name more, never fewer.
std::span<const std::string_view> strictLayers() noexcept;

}  // namespace rauha::policy
