#include "plugins/backend-linux/zone_spec.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "plugins/backend-linux/test_host.h"

namespace rauha::backend {
namespace {

Error refusal(const SpecBuilder& spec, bool update = false) {
  try {
    update ? readZoneUpdate(spec.spec()) : readZoneSpec(spec.spec());
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "accepted";
  return Error("test", Code::none, "");
}

TEST(ZoneSpec, EveryRecord) {
  SpecBuilder b;
  b.flags = RAUHA_ZONE_EPHEMERAL;
  b.number(RAUHA_ZONE_CPU_MILLIS, 1500)
      .number(RAUHA_ZONE_CPU_WEIGHT, 200)
      .number(RAUHA_ZONE_MEMORY_BYTES, 1 << 30)
      .number(RAUHA_ZONE_PIDS, 64);
  b.number(RAUHA_ZONE_OPEN_FILES, 1024)
      .number(RAUHA_ZONE_IO_WEIGHT, 50)
      .number(RAUHA_ZONE_IO_READ_BPS, 1)
      .number(RAUHA_ZONE_IO_WRITE_BPS, 2);
  b.number(RAUHA_ZONE_CORE_BYTES, 3)
      .text(RAUHA_ZONE_CAPABILITY, "kill")
      .text(RAUHA_ZONE_CAPABILITY, "chown")
      .text(RAUHA_ZONE_CAPABILITY, "kill");
  b.text(RAUHA_ZONE_SYSCALL_DENY, "ptrace").text(RAUHA_ZONE_SYSCALL_ALLOW, "userfaultfd").text(RAUHA_ZONE_DEVICE, "/dev/fuse rw");
  b.number(RAUHA_ZONE_NO_SUID_BITS, 1).text(RAUHA_ZONE_REQUIRE, "seccomp");
  const ZoneSpec s = readZoneSpec(b.spec());
  EXPECT_TRUE(s.ephemeral);
  EXPECT_FALSE(s.hostUserNamespace);
  EXPECT_EQ(s.limits.cpuMillis, 1500u);
  EXPECT_EQ(s.limits.ioWriteBps, 2u);
  EXPECT_EQ(s.openFiles, 1024u);
  EXPECT_EQ(s.capabilities, (std::vector<uint8_t>{0, 5}));
  ASSERT_EQ(s.devices.size(), 1u);
  EXPECT_EQ(s.devices[0].path, "/dev/fuse");
  EXPECT_EQ(s.devices[0].access, "rw");
  EXPECT_TRUE(s.noSuidBits);
  EXPECT_EQ(s.require, std::vector<std::string>{"seccomp"});
}

TEST(ZoneSpec, WhatIsNotUnderstoodIsRefused) {
  EXPECT_EQ(refusal(SpecBuilder().number(99, 1)).code(), Code::unsupported);
  EXPECT_NE(refusal(SpecBuilder().number(99, 1)).text().find("99"), std::string::npos);
  SpecBuilder optional;
  optional.number(99, 1).records[0].flags = 0;
  EXPECT_NO_THROW(readZoneSpec(optional.spec()));
  optional.records[0].flags = 2;
  EXPECT_THROW(readZoneSpec(optional.spec()), sdk::Error);
  SpecBuilder flags;
  flags.flags = 8;
  EXPECT_THROW(readZoneSpec(flags.spec()), sdk::Error);
  SpecBuilder bridged;
  bridged.network = RAUHA_NETWORK_BRIDGED;
  EXPECT_NE(refusal(bridged).text().find("network plugin"), std::string::npos);
  bridged.network = 7;
  EXPECT_EQ(refusal(bridged).code(), Code::unsupported);
  EXPECT_EQ(refusal(SpecBuilder().text(RAUHA_ZONE_REQUIRE, "magic")).code(), Code::unsupported);
}

TEST(ZoneSpec, HostNetworkNeedsThePrivilegedZone) {
  SpecBuilder b;
  b.network = RAUHA_NETWORK_HOST;
  EXPECT_EQ(refusal(b).code(), Code::invalid);
  b.flags = RAUHA_ZONE_USERNS_HOST;
  EXPECT_NO_THROW(readZoneSpec(b.spec()));
}

TEST(ZoneSpec, HostileValues) {
  for (const char* id : {"", "..", "a/b", "daemon", "Zone", "zone-1", "a234567890123456789012345678901234567890x"}) {
    SpecBuilder b;
    b.id = id;
    EXPECT_EQ(refusal(b).code(), Code::invalid) << id;
  }
  for (const char* name : {"", "-x", "a b", "a/b"}) {
    SpecBuilder b;
    b.hostname = name;
    EXPECT_EQ(refusal(b).code(), Code::invalid) << name;
  }
  for (const char* device : {"/dev/fuse", "/etc/passwd rw", "/dev/../etc/passwd r", "/dev/fuse x", "/dev/fuse "})
    EXPECT_EQ(refusal(SpecBuilder().text(RAUHA_ZONE_DEVICE, device)).code(), Code::invalid) << device;
  for (const char* cap : {"cap_chown", "CHOWN", "everything", "21"})
    EXPECT_EQ(refusal(SpecBuilder().text(RAUHA_ZONE_CAPABILITY, cap)).code(), Code::unsupported) << cap;
  EXPECT_EQ(refusal(SpecBuilder().number(RAUHA_ZONE_CPU_WEIGHT, 0)).code(), Code::invalid);
  EXPECT_EQ(refusal(SpecBuilder().number(RAUHA_ZONE_CPU_WEIGHT, 10'001)).code(), Code::invalid);
  EXPECT_EQ(refusal(SpecBuilder().number(RAUHA_ZONE_OPEN_FILES, 1)).code(), Code::invalid);
  EXPECT_EQ(refusal(SpecBuilder().number(RAUHA_ZONE_MEMORY_BYTES, ~uint64_t{0})).code(), Code::invalid);
  EXPECT_EQ(refusal(SpecBuilder().text(RAUHA_ZONE_SYSCALL_DENY, std::string_view("a\0b", 3))).code(), Code::invalid);
  SpecBuilder many;
  for (int i = 0; i < 5000; ++i) many.number(RAUHA_ZONE_PIDS, 1);
  EXPECT_EQ(refusal(many).code(), Code::limit);
}

TEST(ZoneSpec, UpdatesCarryLimitsOnly) {
  SpecBuilder b;
  b.number(RAUHA_ZONE_PIDS, 3);
  EXPECT_EQ(readZoneUpdate(b.spec()).limits.pids, 3u);
  for (const uint32_t tag : {RAUHA_ZONE_OPEN_FILES, RAUHA_ZONE_CORE_BYTES, RAUHA_ZONE_NO_SUID_BITS, RAUHA_ZONE_CAPABILITY})
    EXPECT_EQ(refusal(SpecBuilder().number(tag, 1), true).code(), Code::unsupported) << tag;
  b.flags = RAUHA_ZONE_EPHEMERAL | RAUHA_ZONE_USERNS_HOST;  // of the zone's own spec
  EXPECT_EQ(readZoneUpdate(b.spec()).limits.pids, 3u);
  b.flags = 1u << 31;
  EXPECT_THROW(readZoneUpdate(b.spec()), sdk::Error);
}

}  // namespace
}  // namespace rauha::backend
