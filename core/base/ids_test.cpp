#include "core/base/ids.h"

#include <gtest/gtest.h>

namespace rauha {
namespace {

TEST(Ids, AreValidAndDiffer) {
  const auto a = newId("task"), b = newId("task");
  EXPECT_TRUE(isId("task", a));
  EXPECT_FALSE(isId("zone", a));
  EXPECT_NE(a, b);
  EXPECT_FALSE(isId("task", a + "x"));
  EXPECT_FALSE(isId("task", "task_../../../../../../x"));
}

TEST(Ids, Names) {
  for (auto ok : {"a", "web-1", "a.b_c", "0"}) EXPECT_TRUE(isName(ok)) << ok;
  for (auto bad : {"", "-a", ".a", "A", "a/b", "a b", "a\n", "ä"}) EXPECT_FALSE(isName(bad)) << bad;
  EXPECT_FALSE(isName(std::string(64, 'a')));
}

}  // namespace
}  // namespace rauha
