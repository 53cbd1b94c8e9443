#include "plugins/image-oci/registry/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>
#include <string_view>

namespace rauha::oci {
namespace {

Nearness of4(uint32_t a) noexcept {
  const uint32_t top = a >> 24;
  if (top == 127 || top == 0) return Nearness::loopback;
  if ((a >> 16) == 0xa9fe) return Nearness::link;  // 169.254: metadata services of clouds live there
  if (top == 10 || (a >> 20) == 0xac1 || (a >> 16) == 0xc0a8 || (a >> 22) == (0x64400000u >> 22)) return Nearness::local;
  return Nearness::world;
}

Nearness of6(const unsigned char* b) noexcept {
  static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  static constexpr unsigned char kNat64[12] = {0, 0x64, 0xff, 0x9b};
  static constexpr unsigned char kZero[15] = {};
  const auto v4 = [&] { return uint32_t{b[12]} << 24 | uint32_t{b[13]} << 16 | uint32_t{b[14]} << 8 | b[15]; };
  if (memcmp(b, kMapped, sizeof kMapped) == 0 || memcmp(b, kNat64, sizeof kNat64) == 0) return of4(v4());
  if (memcmp(b, kZero, sizeof kZero) == 0 && b[15] <= 1) return Nearness::loopback;
  if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) return Nearness::link;
  if ((b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0xc0)) return Nearness::local;
  return Nearness::world;
}

}  // namespace

Nearness nearnessOf(const sockaddr& address) noexcept {
  if (address.sa_family == AF_INET) {
    sockaddr_in in{};
    memcpy(&in, &address, sizeof in);
    return of4(ntohl(in.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 in{};
    memcpy(&in, &address, sizeof in);
    return of6(in.sin6_addr.s6_addr);
  }
  return Nearness::loopback;
}

Nearness nearnessOfText(const std::string& address) noexcept {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return of4(ntohl(v4.s_addr));
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) == 1) return of6(v6.s6_addr);
  return Nearness::loopback;
}

bool isLoopbackHost(std::string_view host) noexcept {
  if (!host.empty() && host[0] == '[') {
    const size_t end = host.find(']');
    return end != std::string_view::npos && host.substr(1, end - 1) == "::1";
  }
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  in_addr v4{};
  return inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

}  // namespace rauha::oci
