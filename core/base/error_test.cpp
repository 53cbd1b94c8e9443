#include "core/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace rauha {
namespace {

TEST(Error, TextIsOneLine) { EXPECT_EQ(Error("x", Code::io, "a\nb").text(), "a b"); }

TEST(Error, OsErrorNamesObjectAndReason) {
  const Error e = osError("store", "open /x/y", ENOENT);
  EXPECT_EQ(e.text(), "open /x/y: No such file or directory");
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_EQ(e.errorClass(), "store");
}

TEST(Error, UnknownNumbersAreInternal) {
  EXPECT_EQ(codeFromNumber(1234), Code::internal);
  EXPECT_EQ(codeFromNumber(-1), Code::internal);
  EXPECT_EQ(codeFromNumber(5), Code::denied);
}

TEST(Error, EveryCodeHasAName) {
  for (int i = 0; i <= 13; ++i) EXPECT_FALSE(codeName(static_cast<Code>(i)).empty());
  EXPECT_EQ(codeName(Code::notFound), "not_found");
}

}  // namespace
}  // namespace rauha
