#include "core/zone/enforcement.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/testing/core_fixture.h"
#include "core/testing/fake_enforcer.h"

namespace rauha {
namespace {

class EnforcementTest : public testing::CoreFixture {
 protected:
  EnforcementTest() : guarded_(*io_.lowLevelProvider, workers_, backend_, store_, events_, directory_, &enforcer_) {}
  ~EnforcementTest() noexcept override {}  // KJ's members may throw in theory
  static const plugin::Layer& enforcerLayer(const Posture& posture) {
    for (const auto& layer : posture.layers)
      if (layer.name == "enforcer") return layer;
    throw std::runtime_error("the posture has no enforcer");
  }
  std::string textOf(Task<std::shared_ptr<Zone>> task) {
    try {
      wait(std::move(task));
    } catch (...) {
      return currentError().text();
    }
    return "no error";
  }
  testing::FakeEnforcer enforcer_;
  ZoneService guarded_;
};

TEST_F(EnforcementTest, AZoneIsKnownWithItsPolicyBeforeItIsReadyAndForgottenAfterItIsGone) {
  const auto zone = wait(guarded_.create(zoneRequest("web")));
  EXPECT_EQ(enforcer_.calls(), (std::vector<std::string>{"register " + zone->id, "policy " + zone->id}));
  EXPECT_EQ(zone->posture.enforcer, "fake-enforcer: enforcing");
  EXPECT_EQ(enforcerLayer(zone->posture).state, plugin::LayerState::full);
  wait(guarded_.destroy(zone->id));
  EXPECT_EQ(enforcer_.calls().back(), "remove " + zone->id);
  expectNothingLeft();
}

// A kept zone was started under an enforcer; without it, nothing in it may go on.
TEST_F(EnforcementTest, AKeptZoneThatIsNotGuardedAnyMoreIsStopped) {
  store::ZoneRow row;
  row.id = newId("zone");
  row.name = "kept";
  row.state = "ready";
  row.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(row);
  enforcer_.fail = {"register"};
  wait(guarded_.reconcile());
  EXPECT_EQ(backend_.script.freezes, std::vector<bool>{true});
  EXPECT_EQ(guarded_.find("kept")->state, ZoneState::failed);
  EXPECT_TRUE(emitted("zone.failed"));
}

TEST_F(EnforcementTest, AZoneThatCannotBeFrozenIsEndedInstead) {
  store::ZoneRow row;
  row.id = newId("zone");
  row.name = "kept";
  row.state = "ready";
  row.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(row);
  enforcer_.fail = {"register"};
  backend_.script.freezeFails = true;
  wait(guarded_.reconcile());
  EXPECT_TRUE(guarded_.list().empty());
  expectNothingLeft();
}

TEST_F(EnforcementTest, AnAdoptedZoneGoesOnOnceItIsGuardedAgain) {
  store::ZoneRow row;
  row.id = newId("zone");
  row.name = "kept";
  row.state = "failed";
  row.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(row);
  wait(guarded_.reconcile());
  EXPECT_EQ(guarded_.find("kept")->state, ZoneState::ready);
  EXPECT_EQ(backend_.script.freezes, std::vector<bool>{false});
}

TEST_F(EnforcementTest, WhatOnlyCountsIsNeverShownAsEnforcing) {
  for (const auto& [can, detail] : {std::pair{plugin::EnforcerCapabilities{plugin::EnforcerState::enforcing, false, true, 10, 1},
                                              "fake-enforcer: enforcing, audit only"},
                                    std::pair{plugin::EnforcerCapabilities{plugin::EnforcerState::attached, true, false, 10, 1},
                                              "fake-enforcer: attached, by control group"}}) {
    enforcer_.can = can;
    wait(guarded_.enforcement().refresh());
    Posture posture = boundaryPosture({}, policy::builtinPolicy("standard").get(), 0, 0, "fake");
    guarded_.enforcement().show(posture);
    EXPECT_EQ(posture.enforcer, detail);
    EXPECT_EQ(enforcerLayer(posture).state, plugin::LayerState::missing);
  }
  // Nor does it satisfy who requires one.
  enforcer_.can = {plugin::EnforcerState::attached, false, false, 10, 1};
  auto request = zoneRequest("web");
  request.policy = policy::parsePolicy("name = \"p\"\ntype = \"standard\"\nrequire = [\"enforcer\"]\n", "p.toml");
  EXPECT_NE(textOf(guarded_.create(std::move(request))).find("requires the layer 'enforcer'"), std::string::npos);
  EXPECT_TRUE(enforcer_.calls().empty());
  enforcer_.can = {plugin::EnforcerState::enforcing, false, false, 10, 1};
  auto again = zoneRequest("web");
  again.policy = policy::parsePolicy("name = \"p\"\ntype = \"standard\"\nrequire = [\"enforcer\"]\n", "p.toml");
  EXPECT_EQ(textOf(guarded_.create(std::move(again))), "no error");
}

TEST_F(EnforcementTest, AnEnforcerThatFailsRefusesTheZone) {
  for (const char* call : {"capabilities", "register", "policy"}) {
    enforcer_.fail = {call};
    EXPECT_EQ(textOf(guarded_.create(zoneRequest("web"))), std::string(call) + " fails as told");
    expectNothingLeft();
  }
}

TEST_F(EnforcementTest, AnAuditingEnforcerGetsAnAuditPolicy) {
  enforcer_.can.auditOnly = true;
  const auto zone = wait(guarded_.create(zoneRequest("web")));
  EXPECT_EQ(enforcer_.calls().back(), "audit policy " + zone->id);
}

TEST_F(EnforcementTest, AProcessOutsideOfTheZonesGroupIsNotLabelled) {
  const auto zone = wait(guarded_.create(zoneRequest("web")));
  zone->cgroupPath = "/sys/fs/cgroup/rauha-test/" + zone->id;
  try {
    wait(guarded_.enforcement().label(zone, getpid()));
    FAIL();
  } catch (...) {
    EXPECT_EQ(currentError().text(), "process " + std::to_string(getpid()) + " is not in the control group of zone " + zone->id);
  }
  EXPECT_EQ(enforcer_.calls().size(), 2u);
}

TEST_F(EnforcementTest, TheEnforcerLearnsWhatStaysBeforeItIsAskedAboutIt) {
  store::ZoneRow row;
  row.id = newId("zone");
  row.name = "kept";
  row.state = "ready";
  row.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(row);
  wait(guarded_.reconcile());
  EXPECT_EQ(enforcer_.calls(), (std::vector<std::string>{"reconcile " + row.id, "register " + row.id, "policy " + row.id}));
  EXPECT_EQ(guarded_.find("kept")->state, ZoneState::ready);
}

TEST_F(EnforcementTest, AFailedReconcileRefusesEverythingUntilTheNextStart) {
  enforcer_.fail = {"reconcile"};
  wait(guarded_.reconcile());
  EXPECT_TRUE(emitted("reconcile.object_left"));
  enforcer_.fail = {};
  EXPECT_EQ(textOf(guarded_.create(zoneRequest("web"))), "reconcile fails as told");
}

TEST_F(EnforcementTest, CountersAreAskedForAndAFailureIsTold) {
  const auto whole = wait(guarded_.enforcement().report("zone_x"));
  EXPECT_EQ(whole.incomplete, "");
  ASSERT_EQ(whole.counters.size(), 1u);
  EXPECT_EQ(whole.counters[0].denied, 3u);
  enforcer_.fail = {"drain"};
  const auto lossy = wait(guarded_.enforcement().report("zone_x"));
  EXPECT_EQ(lossy.incomplete, "drain fails as told");
  EXPECT_EQ(lossy.counters.size(), 1u);
}

}  // namespace
}  // namespace rauha
