#pragma once
// What a registry says in headers about how it wants to be asked. Pure functions over hostile text; they never throw.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rauha::oci {

// One challenge of WWW-Authenticate (RFC 9110, 11.6.1).
struct Challenge {
  std::string scheme;  // lower case: "basic", "bearer"
  std::string realm, service, scope, error;
};

// Several may stand in one header. What is malformed ends the list.
std::vector<Challenge> parseChallenges(std::string_view header);

// Seconds of Retry-After in milliseconds; nullopt: absent or not understood. A date counts from nowRealNs.
std::optional<uint64_t> parseRetryAfter(std::string_view header, int64_t nowRealNs);

// First byte and whole size of Content-Range ("bytes 5-9/10"); nullopt: malformed, or the size is unknown.
struct ContentRange {
  uint64_t first = 0, size = 0;
};
std::optional<ContentRange> parseContentRange(std::string_view header);

}  // namespace rauha::oci
