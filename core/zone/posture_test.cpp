#include "core/zone/posture.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha {
namespace {

using plugin::Layer;
using plugin::LayerState;

class PostureTest : public testing::Test {
 protected:
  ~PostureTest() noexcept override {}  // capnp destructors may throw; gtest's must not
  PostureTest() : policy_(message_.initRoot<schema::Policy>()) {
    policy_.setName("test");
    policy_.initNetwork().setMode(schema::NetworkMode::ISOLATED);
  }
  void require(const char* layer) { policy_.initRequire(1).set(0, layer); }
  Posture boundary(std::vector<Layer> layers) { return boundaryPosture(layers, policy_.asReader(), 1879048192, 65536, "backend-linux"); }
  capnp::MallocMessageBuilder message_;
  schema::Policy::Builder policy_;
};

TEST_F(PostureTest, MissingEnforcerIsRefusedWhenRequired) {
  require("enforcer");
  try {
    checkRequired(boundary({}), policy_.asReader(), {}, true);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.text().find("'enforcer'"), std::string::npos);
    EXPECT_NE(e.hint().find("--allow-degraded enforcer"), std::string::npos);
  }
  checkRequired(boundary({}), policy_.asReader(), {"enforcer"}, true);
}

TEST_F(PostureTest, PartialIsNotEnough) {
  require("cgroup_io");
  EXPECT_THROW(
      checkRequired(boundary({{"cgroup_io", LayerState::partial, "v1", "buffered writes escape", ""}}), policy_.asReader(), {}, true),
      Error);
  checkRequired(boundary({{"cgroup_io", LayerState::full, "v2", "", ""}}), policy_.asReader(), {}, true);
}

TEST_F(PostureTest, ProcessLayersAreCheckedOnceTheyAreKnown) {
  require("seccomp");
  Posture posture = boundary({});
  checkRequired(posture, policy_.asReader(), {}, true);
  EXPECT_THROW(checkRequired(posture, policy_.asReader(), {}, false), Error);
  capnp::MallocMessageBuilder message;
  auto layers = message.initRoot<schema::Layers>();
  layers.setSeccomp(true);
  addProcessLayers(posture, layers.asReader());
  checkRequired(posture, policy_.asReader(), {}, false);
}

// The backend says how much the filter is, the agent only that there is one.
TEST_F(PostureTest, AWideFilterStaysPartialWhenItIsLoaded) {
  require("seccomp");
  Posture posture = boundary({{"seccomp", LayerState::partial, "list", "privileged zones get a wide list", "use another type"}});
  capnp::MallocMessageBuilder message;
  auto layers = message.initRoot<schema::Layers>();
  layers.setSeccomp(true);
  layers.setSeccompRules(90);
  addProcessLayers(posture, layers.asReader());
  EXPECT_EQ(posture.layers[1].name, "seccomp");
  EXPECT_EQ(posture.layers[1].state, LayerState::partial);
  EXPECT_EQ(posture.layers[1].detail, "filter of 90 instructions");
  EXPECT_THROW(checkRequired(posture, policy_.asReader(), {}, false), Error);
  policy_.setType(schema::ZoneType::PRIVILEGED);
  checkRequired(posture, policy_.asReader(), {}, false);
  layers.setSeccomp(false);
  addProcessLayers(posture, layers.asReader());
  EXPECT_THROW(checkRequired(posture, policy_.asReader(), {}, false), Error);
}

TEST_F(PostureTest, OlderLandlockIsWeakerButArmed) {
  require("landlock");
  for (const unsigned abi : {0u, 2u, 7u}) {
    Posture posture = boundary({});
    capnp::MallocMessageBuilder message;
    auto layers = message.initRoot<schema::Layers>();
    layers.setLandlockAbi(abi);
    addProcessLayers(posture, layers.asReader());
    if (abi == 0)
      EXPECT_THROW(checkRequired(posture, policy_.asReader(), {}, false), Error);
    else
      checkRequired(posture, policy_.asReader(), {}, false);
    capnp::MallocMessageBuilder out;
    auto written = out.initRoot<schema::Posture>();
    writePosture(written, posture);
    EXPECT_EQ(written.getLayers()[2].getWeaker(), abi < 5);
  }
}

TEST_F(PostureTest, WhatNobodyAskedForYetIsNeitherArmedNorWeaker) {
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<schema::Posture>();
  writePosture(out, boundary({{"seccomp", LayerState::full, "filter", "", ""}, {"cgroup_io", LayerState::partial, "v1", "", ""}}));
  for (const auto layer : out.asReader().getLayers()) {
    const std::string name(layer.getName().begin(), layer.getName().size());
    if (name == "seccomp" || name == "landlock" || name == "capabilities") {
      EXPECT_FALSE(layer.getArmed() || layer.getWeaker()) << name;
    } else if (name == "cgroup_io") {
      EXPECT_TRUE(layer.getArmed() && layer.getWeaker());
    }
  }
}

TEST_F(PostureTest, WhatIsWrittenDownIsShownAgain) {
  Posture posture =
      boundary({{"user_namespace", LayerState::full, "own", "", ""}, {"cgroup_io", LayerState::partial, "v1 hybrid", "why", ""}});
  posture.degraded = {"landlock"};
  posture.unsafePlugins = {"p: /tmp is writable by others"};
  const auto shown = [](const Posture& p) {
    capnp::MallocMessageBuilder message;
    auto out = message.initRoot<schema::Posture>();
    writePosture(out, p);
    return std::string(kj::str(out.asReader()).cStr());
  };
  for (const bool process : {false, true}) {
    if (process) {
      capnp::MallocMessageBuilder message;
      auto layers = message.initRoot<schema::Layers>();
      layers.setSeccomp(true);
      layers.setLandlockAbi(2);
      layers.initCapabilities(1).set(0, "chown");
      addProcessLayers(posture, layers.asReader());
    }
    const auto restored = unpackPosture(packPosture(posture));
    ASSERT_TRUE(restored);
    EXPECT_EQ(restored->processKnown, process);
    EXPECT_EQ(shown(*restored), shown(posture));
  }
  EXPECT_FALSE(unpackPosture(""));
  EXPECT_FALSE(unpackPosture("damaged"));
  EXPECT_FALSE(unpackPosture(packPosture(Posture{}))) << "a posture without its layers";
}

TEST_F(PostureTest, UnknownWaiverIsRefused) {
  EXPECT_THROW(checkWaivers({"secomp"}), Error);
  checkWaivers({"seccomp"});
}

}  // namespace
}  // namespace rauha
