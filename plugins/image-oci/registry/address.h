#pragma once
// How near an address is to this machine. A server may send us (by a redirect, or by naming a token server) only to addresses that are no
// nearer than its own: what the outside says must not make the daemon talk to the inside. Pure.

#include <sys/socket.h>

#include <string>

namespace rauha::oci {

enum class Nearness { loopback, link, local, world };  // 127.0.0.0/8 and ::1; link-local; private ranges; all others

// Other families than IP are `loopback`.
Nearness nearnessOf(const sockaddr& address) noexcept;
// Of "192.0.2.1" or "2001:db8::1"; `loopback` for what is no address.
Nearness nearnessOfText(const std::string& address) noexcept;
// "localhost", an address of 127.0.0.0/8, or [::1]; with or without a port.
bool isLoopbackHost(std::string_view hostAndPort) noexcept;

}  // namespace rauha::oci
