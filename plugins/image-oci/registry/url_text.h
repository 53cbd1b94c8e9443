#pragma once
// Small texts of HTTP: encodings and the parts of an address. Pure.

#include <string>
#include <string_view>

namespace rauha::oci {

// "https://host:port" of an address; without user, path and query.
std::string originOf(std::string_view url);
// "host:port", or "host" when it has none.
std::string hostOf(std::string_view url);
std::string urlEncoded(std::string_view text);

}  // namespace rauha::oci
