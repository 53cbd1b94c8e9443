#pragma once
// The C tables of the services that the host offers (sdk/include/rauha/service_*.h), over HostServices. Static; any thread.

#include <string>
#include <string_view>
#include <vector>

namespace rauha::plugin {

struct HostCallbacks;

// Ids of what a host with these callbacks offers: rauha.state/1 needs a keeper, rauha.spawn/1 must not be forbidden.
std::vector<std::string> offeredServices(const HostCallbacks& callbacks);
// The table, or null for an id that nobody knows.
const void* serviceTable(std::string_view id) noexcept;

}  // namespace rauha::plugin
