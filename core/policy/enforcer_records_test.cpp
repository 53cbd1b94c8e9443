#include "core/policy/enforcer_records.h"

#include <gtest/gtest.h>
#include <rauha/draft/enforcer.h>

#include "core/policy/policy.h"

namespace rauha::policy {
namespace {

std::string recordsOf(const std::string& rest, bool audit) {
  const Policy policy = parsePolicy("name = \"x\"\ntype = \"task\"\n" + rest, "");
  std::string out;
  for (const auto& r : enforcerRecords(policy.get(), audit)) {
    EXPECT_NE(r.tag, 0u);
    out += std::to_string(r.tag) + ":" + std::to_string(r.number) + ":" + r.text + " ";
  }
  return out;
}

TEST(EnforcerRecords, CapabilitiesAreNamedOneByOne) {
  EXPECT_EQ(recordsOf("capabilities = [\"chown\", \"kill\"]\n", false), "1:0: 4:1: 2:0:chown 2:0:kill ");
}

TEST(EnforcerRecords, NoneIsSaidAndNeverMeant) { EXPECT_EQ(recordsOf("capabilities = []\n", true), "1:1: 4:1: 3:1: "); }

}  // namespace
}  // namespace rauha::policy
