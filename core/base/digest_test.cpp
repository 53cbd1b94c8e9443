#include "core/base/digest.h"

#include <gtest/gtest.h>

namespace rauha {
namespace {

TEST(Digest, KnownVectors) {  // FIPS 180-4 examples
  EXPECT_EQ(sha256(""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, Form) {
  EXPECT_TRUE(isSha256(sha256("x")));
  EXPECT_FALSE(isSha256("sha256:abc"));
  EXPECT_FALSE(isSha256("sha512:" + sha256("x").substr(7)));
  EXPECT_FALSE(isSha256("sha256:../../../../../../../../../../../../../../../../../../../../etc/pas"));
}

}  // namespace
}  // namespace rauha
