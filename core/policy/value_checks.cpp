#include "core/policy/value_checks.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace rauha::policy {
namespace {

struct Address {
  int family = 0;
  std::vector<unsigned char> bytes;
};

Address parseAddress(const std::string& text) {
  Address out;
  out.bytes.resize(sizeof(in6_addr));
  if (inet_pton(AF_INET, text.c_str(), out.bytes.data()) == 1) {
    out.family = AF_INET;
    out.bytes.resize(sizeof(in_addr));
  } else if (inet_pton(AF_INET6, text.c_str(), out.bytes.data()) == 1) {
    out.family = AF_INET6;
  }
  return out;
}

// Clears the bits after the prefix; true when one of them was set.
bool maskHostBits(std::vector<unsigned char>& bytes, unsigned prefix) {
  bool changed = false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const unsigned keep = prefix >= (i + 1) * 8 ? 8 : prefix > i * 8 ? prefix - static_cast<unsigned>(i) * 8 : 0;
    const auto masked = static_cast<unsigned char>(bytes[i] & (0xff00u >> keep));
    changed = changed || masked != bytes[i];
    bytes[i] = masked;
  }
  return changed;
}

}  // namespace

std::string badPath(std::string_view path) {
  if (path.empty()) return "is empty";
  if (path[0] != '/') return "is not absolute";
  if (path.size() > 4095) return "is longer than 4095 bytes";
  if (path == "/") return "is the whole tree";
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return "has a control character";
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const auto part = path.substr(at, end - at);
    if (part.empty()) return end == path.size() ? "ends in a slash" : "has an empty component ('//')";
    if (part == "." || part == "..") return "has a '" + std::string(part) + "' component";
    if (part.size() > 255) return "has a component longer than 255 bytes";
    at = end + 1;
  }
  return {};
}

std::string badDevicePath(std::string_view path) {
  if (auto reason = badPath(path); !reason.empty()) return reason;
  if (path.substr(0, 5) != "/dev/") return "is not below /dev";
  if (path.find(' ') != std::string_view::npos) return "has a blank";
  return {};
}

std::string badDeviceAccess(std::string_view access) {
  if (access.empty()) return "is empty";
  for (size_t i = 0; i < access.size(); ++i) {
    if (std::string_view("rwm").find(access[i]) == std::string_view::npos) return "has a letter that is none of 'rwm'";
    if (access.find(access[i], i + 1) != std::string_view::npos) return std::string("has '") + access[i] + "' twice";
  }
  return {};
}

std::string badCidr(std::string_view cidr) {
  const size_t slash = cidr.find('/');
  if (slash == std::string_view::npos || cidr.size() > 64) return "is not an address with a prefix length";
  auto address = parseAddress(std::string(cidr.substr(0, slash)));
  if (address.family == 0) return "does not begin with an IPv4 or IPv6 address";
  const auto digits = cidr.substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  const size_t bits = address.bytes.size() * 8;
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty() || prefix > bits)
    return "has no prefix length of 0 to " + std::to_string(bits);
  if (!maskHostBits(address.bytes, prefix)) return {};
  char network[INET6_ADDRSTRLEN] = {};
  inet_ntop(address.family, address.bytes.data(), network, sizeof network);
  return "has bits set after its prefix; the network is " + std::string(network) + "/" + std::to_string(prefix);
}

std::string badRegistry(std::string_view registry) {
  if (registry.empty()) return "is empty";
  if (registry.size() > 255) return "is longer than 255 bytes";
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
  };
  if (registry.find('/') != std::string_view::npos) return "has a '/': only the host counts";
  if (!std::all_of(registry.begin(), registry.end(), good)) return "is not a host in lower case";
  return {};
}

bool isHostDevice(std::string_view path) noexcept {
  static constexpr std::array<std::string_view, 4> exact = {"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg"};
  static constexpr std::array<std::string_view, 16> prefixes = {
      "/dev/sd",     "/dev/hd", "/dev/vd", "/dev/xvd", "/dev/nvme", "/dev/mmcblk", "/dev/loop",   "/dev/dm-",
      "/dev/mapper", "/dev/md", "/dev/sr", "/dev/ram", "/dev/zram", "/dev/disk/",  "/dev/block/", "/dev/mtd"};
  return std::find(exact.begin(), exact.end(), path) != exact.end() ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return path.substr(0, p.size()) == p; });
}

}  // namespace rauha::policy
