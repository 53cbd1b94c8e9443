#include "plugins/backend-linux/config.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::backend {
namespace {

std::string refusal(std::string_view toml) {
  try {
    readConfig(toml);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::invalid);
    return e.text();
  }
  return {};
}

TEST(Config, DefaultsAndValues) {
  const Config none = readConfig("");
  EXPECT_EQ(none.idBase, 1879048192u);
  EXPECT_EQ(none.idSlots, 4095u);
  EXPECT_EQ(none.cgroupParent, "");
  const Config all = readConfig("cgroup_parent = \"rauha.slice/x\"\nid_base = 131072\nid_slots = 3\n");
  EXPECT_EQ(all.cgroupParent, "rauha.slice/x");
  EXPECT_EQ(all.idBase, 131072u);
  EXPECT_EQ(all.idSlots, 3u);
}

TEST(Config, WhatIsWrongIsNamed) {
  EXPECT_NE(refusal("id_bases = 1").find("id_bases"), std::string::npos);
  EXPECT_NE(refusal("id_base = 65537").find("65537"), std::string::npos);
  EXPECT_NE(refusal("id_base = 0").find("id_base"), std::string::npos);
  EXPECT_NE(refusal("id_base = \"x\"").find("id_base"), std::string::npos);
  EXPECT_NE(refusal("id_base = 4294770688\nid_slots = 10").find("beyond"), std::string::npos);
  EXPECT_NE(refusal("cgroup_parent = \"a/../b\"").find("leaves"), std::string::npos);
  EXPECT_NE(refusal("cgroup_parent = 3").find("cgroup_parent"), std::string::npos);
  for (const char* text : {"[[[[[", "[", "[]", "a.b = {", "\xff", "x = [[[["}) EXPECT_NE(refusal(text), "") << text;
  EXPECT_NE(refusal("\n\nx = = 1").find("line 3"), std::string::npos);
}

}  // namespace
}  // namespace rauha::backend
