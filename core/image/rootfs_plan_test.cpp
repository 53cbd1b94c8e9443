#include "core/image/rootfs_plan.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::image {
namespace {

using Texts = std::vector<std::string>;

TEST(Environment, LastOneWins) {
  const auto env = mergeEnvironment({"PATH=/image", "A=1"}, {"A=2", "B="}, false);
  EXPECT_EQ(env, (Texts{"HOME=/root", "PATH=/image", "A=2", "B="}));
}

TEST(Environment, TerminalGetsTerm) { EXPECT_EQ(mergeEnvironment({}, {}, true).back(), "TERM=xterm"); }

TEST(Environment, RefusesNamesWithoutValue) {
  EXPECT_THROW(mergeEnvironment({}, {"NAME"}, false), Error);
  EXPECT_THROW(mergeEnvironment({}, {"=x"}, false), Error);
  EXPECT_NO_THROW(mergeEnvironment({"NAME", "=x"}, {}, false));
}

class PlanTest : public testing::Test {
 protected:
  ~PlanTest() noexcept override {}  // capnp destructors may throw; gtest's must not
  PlanTest() : policy_(policyMessage_.initRoot<schema::Policy>()) { policy_.initFilesystem().setScratchBytes(1 << 20); }
  schema::ContainerSpec::Reader build() {
    descriptors_ = buildContainerSpec(spec_.initRoot<schema::ContainerSpec>(), image_, config_, policy_.asReader(), request_);
    return spec_.getRoot<schema::ContainerSpec>().asReader();
  }
  capnp::MallocMessageBuilder policyMessage_, spec_;
  schema::Policy::Builder policy_;
  plugin::ResolvedImage image_;
  Config config_;
  ContainerRequest request_;
  std::vector<UniqueFd> descriptors_;
};

TEST_F(PlanTest, LayersKeepTheirOrderAndDescriptors) {
  image_.layers.push_back({"/store/a", UniqueFd(), plugin::LayerMapping::zone});
  image_.layers.push_back({"", UniqueFd(open("/", O_PATH | O_CLOEXEC)), plugin::LayerMapping::owner});
  request_.callerUid = 1000;
  const auto layers = build().getRootfs().getOverlay();
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_STREQ(layers[0].getPath().cStr(), "/store/a");
  EXPECT_EQ(layers[0].getMapping(), schema::IdMapping::ZONE);
  EXPECT_EQ(layers[1].getDescriptor(), 0u);
  EXPECT_EQ(layers[1].getHostUid(), 1000u);
  EXPECT_EQ(descriptors_.size(), 1u);
}

TEST_F(PlanTest, RepositoryIsMountedLastAndIsTheWorkdir) {
  image_.mounts.push_back({plugin::MountKind::bind, false, true, 0, "/usr", "/usr"});
  image_.mounts.push_back({plugin::MountKind::file, false, false, 0, "x\n", "/etc/hostname"});
  Repository repository;
  repository.directory = UniqueFd(open("/", O_PATH | O_CLOEXEC));
  repository.uid = 1000;
  request_.repository = std::move(repository);
  config_.workdir = "/image";
  const auto spec = build();
  const auto mounts = spec.getRootfs().getMounts();
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_TRUE(spec.getRootfs().isEmpty());
  EXPECT_TRUE(mounts[0].getReadOnly());
  EXPECT_STREQ(mounts[2].getTarget().cStr(), "/workspace");
  EXPECT_TRUE(mounts[2].getReadOnly());
  EXPECT_EQ(mounts[2].getMapping(), schema::IdMapping::OWNER);
  EXPECT_STREQ(spec.getProcess().getWorkdir().cStr(), "/workspace");
  EXPECT_FALSE(spec.getProcess().getWorkdirRequired());
}

TEST_F(PlanTest, RequestBeatsTheImage) {
  config_.user = "app";
  config_.workdir = "/app";
  EXPECT_STREQ(build().getProcess().getUser().cStr(), "app");
  EXPECT_STREQ(build().getProcess().getWorkdir().cStr(), "/app");
  request_.user = "1000";
  request_.workdir = "/elsewhere";
  EXPECT_STREQ(build().getProcess().getUser().cStr(), "1000");
  EXPECT_STREQ(build().getProcess().getWorkdir().cStr(), "/elsewhere");
  EXPECT_TRUE(build().getProcess().getWorkdirRequired());
}

}  // namespace
}  // namespace rauha::image
