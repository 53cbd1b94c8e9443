#include "core/policy/zone_records.h"

#include <gtest/gtest.h>
#include <rauha/backend.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/policy/dangerous/host_network.h"
#include "core/policy/dangerous/host_user_namespace.h"
#include "core/policy/policy.h"

namespace rauha::policy {
namespace {

std::vector<ZoneRecord> with(const std::vector<ZoneRecord>& all, uint32_t tag) {
  std::vector<ZoneRecord> out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out), [&](const auto& r) { return r.tag == tag; });
  return out;
}

Policy parse(const std::string& rest, const std::string& type = "task") {
  return parsePolicy("name = \"x\"\ntype = \"" + type + "\"\n" + rest, "");
}

TEST(ZoneRecords, LimitsAndLists) {
  const Policy policy = parse(
      "require = [\"seccomp\"]\ncapabilities = [\"chown\", \"kill\"]\ndevices = [{path = \"/dev/fuse\", access = \"rw\"}]\n"
      "[resources]\ncpu = 0.5\nmemory = \"1GiB\"\npids = 9\ncpu_weight = 10\nio_read = \"1MiB/s\"\n[syscalls]\ndeny = [\"ptrace\"]\nallow = [\"userfaultfd\"]\n");
  const auto records = zoneRecords(policy.get());
  const auto number = [&](uint32_t tag) {
    const auto found = with(records, tag);
    EXPECT_EQ(found.size(), 1u) << tag;
    return found.empty() ? 0 : found[0].number;
  };
  EXPECT_EQ(number(RAUHA_ZONE_CPU_MILLIS), 500u);
  EXPECT_EQ(number(RAUHA_ZONE_MEMORY_BYTES), 1ULL << 30);
  EXPECT_EQ(number(RAUHA_ZONE_PIDS), 9u);
  EXPECT_EQ(number(RAUHA_ZONE_CPU_WEIGHT), 10u);
  EXPECT_EQ(number(RAUHA_ZONE_IO_READ_BPS), 1ULL << 20);
  EXPECT_EQ(number(RAUHA_ZONE_OPEN_FILES), 4096u);
  EXPECT_EQ(number(RAUHA_ZONE_CORE_BYTES), 0u);
  EXPECT_TRUE(with(records, RAUHA_ZONE_IO_WRITE_BPS).empty());
  EXPECT_TRUE(with(records, RAUHA_ZONE_IO_WEIGHT).empty());
  const auto capabilities = with(records, RAUHA_ZONE_CAPABILITY);
  ASSERT_EQ(capabilities.size(), 2u);
  EXPECT_EQ(capabilities[1].text, "kill");
  EXPECT_EQ(with(records, RAUHA_ZONE_SYSCALL_DENY).at(0).text, "ptrace");
  EXPECT_EQ(with(records, RAUHA_ZONE_SYSCALL_ALLOW).at(0).text, "userfaultfd");
  EXPECT_EQ(with(records, RAUHA_ZONE_DEVICE).at(0).text, "/dev/fuse rw");
  EXPECT_EQ(with(records, RAUHA_ZONE_REQUIRE).at(0).text, "seccomp");
}

TEST(ZoneRecords, NoLimitIsNoRecord) {
  const auto policy = parse("require = []\n[resources]\ncpu = 0\nmemory = \"0\"\npids = 0\n");
  const auto records = zoneRecords(policy.get());
  for (const uint32_t tag : {RAUHA_ZONE_CPU_MILLIS, RAUHA_ZONE_MEMORY_BYTES, RAUHA_ZONE_PIDS})
    EXPECT_TRUE(with(records, tag).empty()) << tag;
}

TEST(ZoneView, AnOrdinaryPolicyNeedsNoToken) {
  const auto policy = builtinPolicy("task");
  const auto view = zoneView(policy.get());
  EXPECT_EQ(view.flags, 0u);
  EXPECT_EQ(view.network, RAUHA_NETWORK_ISOLATED);
  EXPECT_FALSE(dangerous::HostUserNamespace::from(policy.get()));
  EXPECT_FALSE(dangerous::HostNetwork::from(policy.get()));
}

TEST(ZoneView, WeakeningNeedsTheTokenOfThatPolicy) {
  const auto policy = builtinPolicy("privileged");
  const auto user = dangerous::HostUserNamespace::from(policy.get());
  const auto network = dangerous::HostNetwork::from(policy.get());
  ASSERT_TRUE(user && network);
  const auto view = zoneView(policy.get(), &*user, &*network);
  EXPECT_EQ(view.flags, RAUHA_ZONE_USERNS_HOST);
  EXPECT_EQ(view.network, RAUHA_NETWORK_HOST);

  EXPECT_THROW(zoneView(policy.get()), Error);
  EXPECT_THROW(zoneView(policy.get(), &*user, nullptr), Error);
  try {
    zoneView(policy.get(), nullptr, &*network);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::denied);
    EXPECT_EQ(e.object(), "user_namespace");
    EXPECT_EQ(e.hint(), "needs user_namespace = \"host\" in a policy of type = \"privileged\"");
  }
  // A token of another policy is worth nothing.
  const auto other = parse("[network]\nmode = \"host\"\n", "privileged");
  const auto othersUser = dangerous::HostUserNamespace::from(other.get());
  ASSERT_TRUE(othersUser);
  EXPECT_THROW(zoneView(policy.get(), &*othersUser, &*network), Error);
}

// A message that did not come from parsePolicy: the type is checked where the token is made.
TEST(ZoneView, AForgedPolicyGetsNoToken) {
  capnp::MallocMessageBuilder message;
  auto policy = message.initRoot<schema::Policy>();
  policy.setDigest("sha256:0");
  policy.setUserNamespace(schema::UserNamespace::HOST);
  policy.initNetwork().setMode(schema::NetworkMode::HOST);
  EXPECT_FALSE(dangerous::HostUserNamespace::from(policy));
  EXPECT_FALSE(dangerous::HostNetwork::from(policy));
  EXPECT_THROW(zoneView(policy.asReader()), Error);
  policy.setUserNamespace(static_cast<schema::UserNamespace>(7));
  policy.getNetwork().setMode(static_cast<schema::NetworkMode>(9));
  EXPECT_THROW(zoneView(policy.asReader()), Error);
}

}  // namespace
}  // namespace rauha::policy
