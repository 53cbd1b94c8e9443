#include "core/policy/dangerous/host_network.h"
#include "core/policy/dangerous/host_user_namespace.h"

namespace rauha::policy::dangerous {
namespace {
std::string digestOf(schema::Policy::Reader policy) { return std::string(policy.getDigest().begin(), policy.getDigest().size()); }
bool isPrivileged(schema::Policy::Reader policy) { return policy.getType() == schema::ZoneType::PRIVILEGED && policy.hasDigest(); }
}  // namespace

std::optional<HostUserNamespace> HostUserNamespace::from(schema::Policy::Reader policy) {
  if (!isPrivileged(policy) || policy.getUserNamespace() != schema::UserNamespace::HOST) return std::nullopt;
  return HostUserNamespace(digestOf(policy));
}

std::optional<HostNetwork> HostNetwork::from(schema::Policy::Reader policy) {
  if (!isPrivileged(policy) || policy.getNetwork().getMode() != schema::NetworkMode::HOST) return std::nullopt;
  return HostNetwork(digestOf(policy));
}

}  // namespace rauha::policy::dangerous
