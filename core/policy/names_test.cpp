#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/policy/allowing_line.h"
#include "core/policy/known_names.h"
#include "core/policy/policy.h"
#include "core/policy/toml_document.h"
#include "core/policy/value_checks.h"

namespace rauha::policy {
namespace {

TEST(KnownNames, CapabilitiesAreTheKernels) {
  ASSERT_EQ(capabilityNames().size(), 41u);
  EXPECT_EQ(capabilityNames()[0], "chown");
  EXPECT_EQ(capabilityNames()[13], "net_raw");
  EXPECT_EQ(capabilityNames()[21], "sys_admin");
  EXPECT_EQ(capabilityNames()[31], "setfcap");
  EXPECT_EQ(capabilityNames()[40], "checkpoint_restore");
  EXPECT_FALSE(isCapability("CHOWN"));
}

TEST(KnownNames, Nearest) {
  const std::string_view words[] = {"memory", "pids", "timeout"};
  EXPECT_EQ(nearest("memroy", words), "memory");
  EXPECT_EQ(nearest("pid", words), "pids");
  EXPECT_EQ(nearest("zzzzzz", words), "");
  EXPECT_EQ(nearest("", words), "");
  EXPECT_EQ(nearest(std::string(1000, 'm'), words), "");
  EXPECT_EQ(didYouMean("zzz", words), "known here: memory, pids, timeout");
}

TEST(KnownNames, Syscalls) {
  for (auto good : {"read", "io_uring_setup", "_llseek", "clone3", "mseal"}) EXPECT_TRUE(isSyscall(good)) << good;
  for (auto bad : {"", "3open", "Open", "open at", "no_such_call", "reads"}) EXPECT_FALSE(isSyscall(bad)) << bad;
  EXPECT_EQ(nearest("mkdri", syscallNames()), "mkdir");
  EXPECT_EQ(nearest("io_uring_setpu", syscallNames()), "io_uring_setup");
}

TEST(ValueChecks, Paths) {
  for (auto good : {"/a", "/etc/shadow", "/a/.b/..c", "/with blank"}) EXPECT_EQ(badPath(good), "") << good;
  for (auto bad : {"", "a", "/", "//a", "/a//b", "/a/", "/a/./b", "/..", "/a\nb", "/a\x7f"}) EXPECT_NE(badPath(bad), "") << bad;
  EXPECT_NE(badPath("/" + std::string(256, 'a')), "");
  EXPECT_EQ(badPath("/" + std::string(255, 'a')), "");
  std::string deep;
  for (int i = 0; i < 2048; ++i) deep += "/a";
  EXPECT_NE(badPath(deep), "");
  EXPECT_NE(badDevicePath("/dev/a b"), "");
  EXPECT_NE(badDevicePath("/device"), "");
  EXPECT_EQ(badDevicePath("/dev/net/tun"), "");
  EXPECT_EQ(badDeviceAccess("rwm"), "");
  EXPECT_NE(badDeviceAccess("rr"), "");
  EXPECT_NE(badDeviceAccess(""), "");
  EXPECT_TRUE(isHostDevice("/dev/nvme0n1"));
  EXPECT_TRUE(isHostDevice("/dev/mapper/root"));
  EXPECT_FALSE(isHostDevice("/dev/fuse"));
}

TEST(ValueChecks, Cidr) {
  for (auto good : {"0.0.0.0/0", "10.0.0.0/8", "192.168.1.4/32", "2001:db8::/32", "::/0", "fe80::1/128"})
    EXPECT_EQ(badCidr(good), "") << good;
  for (auto bad : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0/8", "::/129", "/8", "x/8", "10.0.0.0/8/8", "10.0.0.0/ 8",
                   "fe80::1%eth0/64"})
    EXPECT_NE(badCidr(bad), "") << bad;
  EXPECT_EQ(badCidr("2001:db8::1/33"), "has bits set after its prefix; the network is 2001:db8::/33");
}

TEST(Toml, LinesAreThoseOfKeys) {
  const auto doc = parseToml("a = 1\n\n[b]\nc.d = \"\"\"\n...\n\"\"\" # ...\n[[e]]\nf = [\n  1,\n  2]\n", 4096);
  ASSERT_EQ(doc.children.size(), 3u);
  EXPECT_EQ(doc.children[0].line, 1u);
  EXPECT_EQ(doc.children[1].line, 3u);
  EXPECT_EQ(doc.children[1].children[0].line, 4u);
  EXPECT_EQ(doc.children[2].children[0].children[0].line, 8u);
  EXPECT_EQ(doc.children[2].children[0].children[0].children[1].line, 10u);
}

TEST(Toml, DotsInStringsAndCommentsAreFree) {
  const std::string dots(5000, '.');
  EXPECT_NO_THROW(
      parseToml("a = \"" + dots + "\"\nb = '" + dots + "'\nc = \"\"\"\n" + dots + "\"\"\"\"\nd = '''" + dots + "'''\n# " + dots, 1 << 20));
  EXPECT_NO_THROW(parseToml("a = \"\\\"" + dots + "\"", 1 << 20));
  EXPECT_THROW(parseToml("a = '\\'\n" + dots, 1 << 20), TomlFailure);
}

TEST(AllowingLine, IsWhatThePolicyFileSays) {
  EXPECT_EQ(allowingLine("network.mode", "host"), "network.mode = \"host\" in a policy of type = \"privileged\"");
  EXPECT_EQ(allowingLine("network.mode", "bridged"), "network.mode = \"bridged\"");
  EXPECT_EQ(allowingLine("capabilities", "net_raw"), "capabilities = [\"net_raw\"]");
  EXPECT_EQ(allowingLine("syscalls.allow", "ptrace"), "syscalls.allow = [\"ptrace\"]");
  EXPECT_EQ(allowingLine("resources.memory"), "resources.memory = \"…\"");
  EXPECT_EQ(allowingLine("resources.pids", "1024"), "resources.pids = 1024");
  EXPECT_EQ(allowingLine("filesystem.read_only_root"), "filesystem.read_only_root = false");
  EXPECT_EQ(allowingLine("devices", "/dev/fuse"), "devices = [{path = \"/dev/fuse\", access = \"rw\"}]");
  EXPECT_EQ(allowingLine("landlock"), "a `require` without \"landlock\"");
  EXPECT_EQ(allowingLine("require", "seccomp"), "a `require` without \"seccomp\"");
  EXPECT_EQ(allowingLine("user_namespace", "host"), "user_namespace = \"host\" in a policy of type = \"privileged\"");
  EXPECT_EQ(allowingLine("resources.memory", "1\" evil"), "resources.memory = \"…\"");
  EXPECT_EQ(allowingLine("nothing.such"), "");
}

// What the lines say is what the parser takes.
TEST(AllowingLine, LinesParse) {
  const std::pair<const char*, const char*> lines[] = {
      {"capabilities", "net_raw"}, {"syscalls.allow", "ptrace"},    {"resources.memory", "4GiB"},
      {"resources.cpu", "4"},      {"resources.timeout", "1h"},     {"devices", "/dev/fuse"},
      {"resources.pids", "4096"},  {"filesystem.tmp_size", "1GiB"}, {"resources.io_read", "1MiB/s"}};
  for (const auto& [feature, value] : lines)
    EXPECT_NO_THROW(parsePolicy("name = \"x\"\ntype = \"task\"\n" + allowingLine(feature, value) + "\n", "")) << feature;
  EXPECT_NO_THROW(parsePolicy("name = \"x\"\ntype = \"privileged\"\nnetwork.mode = \"host\"\nuser_namespace = \"host\"\n", ""));
}

}  // namespace
}  // namespace rauha::policy
