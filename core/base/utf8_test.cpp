#include "core/base/utf8.h"

#include <gtest/gtest.h>

namespace rauha {
namespace {

TEST(Utf8, AcceptsWellFormed) {
  EXPECT_TRUE(isUtf8("plain"));
  EXPECT_TRUE(isUtf8("\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  EXPECT_TRUE(isUtf8(std::string_view("\0", 1)));
}

TEST(Utf8, RefusesIllFormed) {
  for (auto bad : {"\xFF", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"}) EXPECT_FALSE(isUtf8(bad));
}

TEST(Utf8, ReplacesMaximalSubsequences) {
  // The example of Unicode 15, table 3-8.
  EXPECT_EQ(toUtf8("a\xF1\x80\x80\xE1\x80\xC2"
                   "b\x80"
                   "c"),
            "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c");
  EXPECT_EQ(toUtf8("ok"), "ok");
}

TEST(Utf8, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64(std::string_view("\xff\x00\xfe", 3)), "/wD+");
}

}  // namespace
}  // namespace rauha
