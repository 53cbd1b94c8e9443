#include "plugins/agent/user.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::agent {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "alice:x:1000:1001::/home/alice:/bin/sh\n"
    "broken line\n"
    "bad:x:abc:1::/:\n"
    "huge:x:99999999999:1::/:\n"
    "far:x:70000:70001::/:\n"
    "last:x:7:8::/:";
constexpr std::string_view kGroup =
    "root:x:0:\nwheel:x:10:root,alice\nalicia:x:11:alicia\nalice:x:1001:alice\nfar:x:70001:alice\nempty:x:12:";

Code codeOf(std::string_view spec) {
  try {
    resolveUser(spec, kPasswd, kGroup, 65535);
  } catch (const Error& e) {
    return e.code();
  }
  return Code::none;
}

TEST(User, NamesNumbersAndGroups) {
  const auto is = [](std::string_view spec, uint32_t uid, uint32_t gid, std::vector<uint32_t> groups = {}) {
    const User u = resolveUser(spec, kPasswd, kGroup, 65535);
    EXPECT_EQ(u.uid, uid) << spec;
    EXPECT_EQ(u.gid, gid) << spec;
    EXPECT_EQ(u.groups, groups) << spec;
  };
  is("", 0, 0);
  is("root", 0, 0, {10});
  is("alice", 1000, 1001, {10});  // 70001 does not exist in the zone
  is("1000", 1000, 1001, {10});
  is("4711", 4711, 0);
  is("4711:10", 4711, 10);
  is("alice:0", 1000, 0);
  is("alice:wheel", 1000, 10);
  is("last", 7, 8);
}

TEST(User, RefusesWhatDoesNotExist) {
  EXPECT_EQ(codeOf("nobody"), Code::notFound);
  EXPECT_EQ(codeOf("alice:nogroup"), Code::notFound);
  EXPECT_EQ(codeOf("far"), Code::invalid);
  EXPECT_EQ(codeOf("65536"), Code::invalid);
  EXPECT_EQ(codeOf("0:65536"), Code::invalid);
  EXPECT_EQ(codeOf("99999999999"), Code::invalid);
  EXPECT_EQ(codeOf("bad"), Code::notFound);
  EXPECT_EQ(codeOf("huge"), Code::notFound);
  EXPECT_EQ(codeOf("-1"), Code::notFound);
  EXPECT_EQ(codeOf(":wheel"), Code::notFound);
}

TEST(User, RootNeedsNoFile) { EXPECT_EQ(resolveUser("root", "", "", 65535).uid, 0u); }

TEST(User, GroupsAreBounded) {
  std::string group;
  for (int i = 1; i < 2000; ++i) group += "g" + std::to_string(i) + ":x:" + std::to_string(i) + ":alice\n";
  EXPECT_EQ(resolveUser("alice", kPasswd, group, 65535).groups.size(), kMaxGroups);
}

}  // namespace
}  // namespace rauha::agent
