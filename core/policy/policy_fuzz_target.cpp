#include "core/policy/policy_fuzz_target.h"

#include <cstdlib>

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "core/policy/dangerous/host_network.h"
#include "core/policy/dangerous/host_user_namespace.h"
#include "core/policy/policy.h"
#include "core/policy/zone_records.h"

namespace rauha::policy {
namespace {

void must(bool truth) {
  if (!truth) std::abort();
}

void checkAccepted(const Policy& policy, std::string_view bytes) {
  must(policy.toml() == bytes);
  const auto p = policy.get();
  const auto user = dangerous::HostUserNamespace::from(p);
  const auto network = dangerous::HostNetwork::from(p);
  // Whatever was accepted has a view, and a weak one only when the text says privileged.
  const auto view = zoneView(p, user ? &*user : nullptr, network ? &*network : nullptr);
  if (user || network || view.flags != 0) must(p.getType() == schema::ZoneType::PRIVILEGED);
  must(p.getFilesystem().getScratchBytes() > 0);
  // The same text always means the same.
  must(parsePolicy(bytes, "fuzz.toml").digest() == policy.digest());
}

}  // namespace

bool fuzzPolicy(std::string_view bytes) {
  try {
    const Policy policy = parsePolicy(bytes, "fuzz.toml");
    checkAccepted(policy, bytes);
    return true;
  } catch (const Error& e) {
    must(e.errorClass() == "policy" && e.code() == Code::invalid);
    must(e.text().starts_with("fuzz.toml"));
    must(e.text().size() < 1000 && e.hint().size() < 1000 && isUtf8(e.text()) && isUtf8(e.hint()));
    return false;
  }
}

}  // namespace rauha::policy
