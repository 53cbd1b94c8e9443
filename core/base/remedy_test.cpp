#include "core/base/remedy.h"

#include <gtest/gtest.h>

#include <set>

#include "core/base/near_name.h"

namespace rauha {
namespace {

TEST(Remedy, TheErrorsOwnIsTaken) { EXPECT_EQ(remedyOf(Error("image", Code::corrupt, "x", "do this")), "do this"); }

TEST(Remedy, NoErrorIsWithoutOne) {
  for (const char* errorClass : {"usage", "policy", "image", "plugin", "backend", "zone", "task", "daemon", "store", "repository",
                                 "command", "network", "internal", "something new"})
    for (int32_t code = 0; code <= static_cast<int32_t>(Code::internal); ++code) {
      const std::string remedy = remedyOf(Error(errorClass, codeFromNumber(code), "x"));
      EXPECT_FALSE(remedy.empty()) << errorClass << " " << code;
      EXPECT_EQ(remedy.find('\n'), std::string::npos);
    }
}

TEST(Remedy, FitsTheClass) {
  EXPECT_NE(remedyOf(Error("image", Code::corrupt, "x")).find("damaged"), std::string::npos);
  EXPECT_NE(remedyOf(Error("plugin", Code::internal, "x")).find("plugin list"), std::string::npos);
  EXPECT_NE(remedyOf(Error("backend", Code::internal, "x")).find("report"), std::string::npos);
  EXPECT_NE(remedyOf(Error("image", Code::internal, "x")).find("report"), std::string::npos);
}

TEST(NearName, OneSlipIsNear) {
  const std::string_view words[] = {"host", "dir:", "oci:"};
  for (const char* slip : {"hots", "hst", "hosts", "hoost"}) EXPECT_EQ(nearest(slip, words), "host") << slip;
  EXPECT_EQ(nearest("python", words), "");
}

}  // namespace
}  // namespace rauha
