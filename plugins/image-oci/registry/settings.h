#pragma once
// How registries are reached, as the operator wrote it ([plugin.image-oci] of rauha.toml). A value; made once, then only read.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rauha::oci {

struct RegistryHost {
  bool insecure = false;             // plain HTTP, and nothing else
  std::string ca;                    // PEM file, beside the system's authorities
  std::string certificate, key;      // PEM files: what we show to the server
  std::vector<std::string> mirrors;  // "host[:port]", asked before the registry itself, in this order
};

struct RegistrySettings {
  bool pull = true;                           // false: nothing is ever fetched
  std::map<std::string, RegistryHost> hosts;  // by "host[:port]" as in a reference; mirrors have entries of their own
  std::string proxy, noProxy;  // as curl understands them; empty: http_proxy, https_proxy and no_proxy of the daemon's environment
  uint32_t parallel = 4;       // layers at once
  uint32_t stallMs = 30'000;   // this long without a byte: the connection is given up
  uint32_t retryMs = 500;      // the first pause; it doubles
};

}  // namespace rauha::oci
