#pragma once
// DANGEROUS. The zone sees the host's network: every interface, every loopback service, every abstract Unix socket of the machine.
//
// Including this header is the mark of code that may build such a zone. The token can only be made from a policy of type privileged with
// network.mode = "host"; it is checked again against the policy that it is used with.

#include <schemas/policy.capnp.h>

#include <optional>
#include <string>

namespace rauha::policy::dangerous {

class HostNetwork final {
 public:
  // nullopt: the policy does not ask for it, or is not of type privileged.
  static std::optional<HostNetwork> from(schema::Policy::Reader policy);
  const std::string& policyDigest() const noexcept { return digest_; }

 private:
  explicit HostNetwork(std::string digest) : digest_(std::move(digest)) {}
  std::string digest_;
};

}  // namespace rauha::policy::dangerous
