#pragma once
// A policy as a file that a policy may be read from: every key with its value, so that what `rauha policy show` prints can be edited and
// used. A pure function of the message, which came from a daemon: its texts are hostile and become TOML strings.

#include <schemas/policy.capnp.h>

#include <string>

namespace rauha::cli {

// Ends with a line break. What is absent or at "none" in a list is written as an empty list.
std::string policyFile(schema::Policy::Reader policy);

}  // namespace rauha::cli
