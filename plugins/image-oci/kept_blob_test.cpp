// What is kept of a half-fetched blob, and how it becomes a whole one, with several pulls at work.

#include "plugins/image-oci/kept_blob.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/base/digest.h"
#include "plugins/image-oci/registry/partial_blob.h"
#include "plugins/image-oci/test_directory.h"

namespace rauha::oci {
namespace {

using namespace test;

class Kept : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(temp_ / "state");
    store_ = std::make_unique<StoreRoot>(temp_ / "state/plugins");
  }
  std::string visible() const { return slurp(temp_ / "state/plugins/blobs/sha256/" + digest_.substr(7)); }

  TempDir temp_;
  std::unique_ptr<StoreRoot> store_;
  const std::string content_ = "what was verified";
  const std::string digest_ = sha256(content_), name_ = PartialBlob::nameOf(digest_);
};

// Another image may name the same blob with another size, and its registry may send anything.
TEST_F(Kept, BetweenVerifyingAndCommitNobodyWrites) {
  auto partial = PartialBlob::open(*store_, digest_, content_.size());
  ASSERT_NE(partial, nullptr);
  partial->append(content_);
  const auto kept = KeptBlob::of(*store_, name_, duplicate(partial->fd()));
  partial.reset();  // the stream was read to its end
  for (const uint64_t size : {uint64_t{3}, uint64_t{content_.size()}, uint64_t{1000}})
    EXPECT_EQ(PartialBlob::open(*store_, digest_, size), nullptr) << size;
  EXPECT_TRUE(kept->commit(digest_, content_.size()));
  EXPECT_EQ(visible(), content_);
}

TEST_F(Kept, ANameThatBecameAnothersIsNotCommitted) {
  auto partial = PartialBlob::open(*store_, digest_, content_.size());
  ASSERT_NE(partial, nullptr);
  partial->append(content_);
  const auto kept = KeptBlob::of(*store_, name_, duplicate(partial->fd()));
  PartialBlob::remove(*store_, digest_);
  spill(temp_ / "state/plugins/tmp/" + name_, std::string(content_.size(), 'x'));
  EXPECT_FALSE(kept->commit(digest_, content_.size()));
  EXPECT_EQ(visible(), "");
}

TEST_F(Kept, WhatIsNotWholeIsNotCommitted) {
  auto partial = PartialBlob::open(*store_, digest_, content_.size());
  ASSERT_NE(partial, nullptr);
  partial->append(content_.substr(1));
  const auto kept = KeptBlob::of(*store_, name_, duplicate(partial->fd()));
  EXPECT_FALSE(kept->commit(digest_, content_.size()));
  EXPECT_EQ(visible(), "");
}

}  // namespace
}  // namespace rauha::oci
