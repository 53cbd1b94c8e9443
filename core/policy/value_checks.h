#pragma once
// Are single values of a policy well-formed? Each returns "" for yes, else the reason, one line, without the key.

#include <string>
#include <string_view>

namespace rauha::policy {

// Absolute, normalized (no "//", "." or "..", no slash at the end), no control characters, at most 4095 bytes, not "/".
std::string badPath(std::string_view path);
// badPath, below /dev, without blanks (the backend's record is "<path> <access>").
std::string badDevicePath(std::string_view path);
// One or more of "rwm", each once.
std::string badDeviceAccess(std::string_view access);
// A network with its prefix length, host bits zero: "10.0.0.0/8", "2001:db8::/32".
std::string badCidr(std::string_view cidr);
// "host", "host:port" in lower case, or a word for a kind of source ("oci-archive").
std::string badRegistry(std::string_view registry);
// Does this device hand out the host's memory or disks? Only privileged zones may name one.
bool isHostDevice(std::string_view path) noexcept;

}  // namespace rauha::policy
