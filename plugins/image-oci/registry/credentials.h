#pragma once
// What the caller's own program found for a registry (docker's config.json, auth.json, a credential helper). It comes with the request; the
// daemon never looks for credentials by itself, and gives them to no other registry than the one that they name. A value.

#include <optional>
#include <string>
#include <string_view>

namespace rauha::oci {

struct Credentials {
  std::string registry;  // "docker.io", "localhost:5000"
  std::string username, password;
  std::string identityToken;  // instead of a password: exchanged for tokens
};

// {"registry": …, "username": …, "password": …, "identity_token": …}; empty text: none. Throws invalid; the text never stands in an error.
std::optional<Credentials> parseCredentials(std::string_view json);

}  // namespace rauha::oci
