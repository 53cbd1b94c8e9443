#include "core/zone/zone_service.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "core/testing/core_fixture.h"

namespace rauha {
namespace {

class ZoneServiceTest : public testing::CoreFixture {};

TEST_F(ZoneServiceTest, CreateAndDestroy) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  EXPECT_EQ(zone->state, ZoneState::ready);
  EXPECT_EQ(store_.zone("web")->state, "ready");
  EXPECT_EQ(zones_.find("web"), zone);
  EXPECT_FALSE(std::filesystem::exists(zones_.scratchDirectory(zone->id))) << "its scratch is in memory";
  wait(zones_.destroy(zone->id));
  expectNothingLeft();
  EXPECT_THROW(zones_.find("web"), Error);
  wait(zones_.destroy(zone->id));  // idempotent
}

TEST_F(ZoneServiceTest, ScratchOnDiskHasADirectory) {
  ZoneRequest request{
      newId("zone"), "web", policy::parsePolicy("name = \"p\"\ntype = \"standard\"\n[filesystem]\nscratch = \"disk\"\n", "test"),
      false,         "",    0,
      false,         {}};
  const auto zone = wait(zones_.create(std::move(request)));
  EXPECT_TRUE(std::filesystem::is_directory(zones_.scratchDirectory(zone->id)));
  wait(zones_.destroy(zone->id));
  expectNothingLeft();
}

TEST_F(ZoneServiceTest, FailureOfTheBackendLeavesNothing) {
  backend_.fail = {"createZone"};
  try {
    wait(zones_.create(zoneRequest("web")));
    FAIL();
  } catch (...) {
    EXPECT_EQ(currentError().text(), "createZone fails as told");
  }
  expectNothingLeft();
  EXPECT_FALSE(zones_.busy());
}

TEST_F(ZoneServiceTest, TwoZonesCannotShareAName) {
  wait(zones_.create(zoneRequest("web")));
  try {
    wait(zones_.create(zoneRequest("web")));
    FAIL();
  } catch (...) {
    EXPECT_EQ(currentError().code(), Code::exists);
  }
  EXPECT_EQ(zones_.list().size(), 1u);
  EXPECT_EQ(backend_.zones().size(), 1u);
}

TEST_F(ZoneServiceTest, BadNamesAndMissingLayersAreRefusedBeforeAnythingIsBuilt) {
  EXPECT_ANY_THROW(wait(zones_.create(zoneRequest("../x"))));
  auto request = zoneRequest("a");
  request.policy = policy::parsePolicy("name = \"p\"\ntype = \"standard\"\nrequire = [\"enforcer\"]\n", "p.toml");
  EXPECT_ANY_THROW(wait(zones_.create(std::move(request))));
  EXPECT_TRUE(backend_.specs().empty());
  expectNothingLeft();
}

TEST_F(ZoneServiceTest, BridgedIsRefusedByName) {
  auto request = zoneRequest("a");
  request.policy = policy::parsePolicy("name = \"p\"\ntype = \"standard\"\n[network]\nmode = \"bridged\"\n", "p.toml");
  try {
    wait(zones_.create(std::move(request)));
    FAIL();
  } catch (...) {
    const Error e = currentError();
    EXPECT_EQ(e.code(), Code::unsupported);
    EXPECT_NE(e.text().find("bridged"), std::string::npos);
  }
  expectNothingLeft();
}

TEST_F(ZoneServiceTest, FailedTakeDownIsKeptAndCanBeRepeated) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  backend_.fail = {"destroyZone"};
  EXPECT_ANY_THROW(wait(zones_.destroy(zone->id)));
  EXPECT_EQ(zone->state, ZoneState::failed);
  EXPECT_EQ(store_.zone("web")->state, "failed");
  EXPECT_TRUE(emitted("zone.failed"));
  backend_.fail = {};
  wait(zones_.destroy(zone->id));
  expectNothingLeft();
}

// What could not be undone has a name by which it can be deleted.
TEST_F(ZoneServiceTest, AZoneThatCouldNotBeUndoneIsKeptAsFailed) {
  backend_.fail = {"createZone", "destroyZone"};
  EXPECT_ANY_THROW(wait(zones_.create(zoneRequest("web"))));
  EXPECT_EQ(zones_.find("web")->state, ZoneState::failed);
  EXPECT_EQ(store_.zone("web")->state, "failed");
  EXPECT_TRUE(emitted("zone.failed"));
  backend_.fail = {};
  wait(zones_.destroy(zones_.find("web")->id));
  expectNothingLeft();
}

// Nobody will delete a task's zone: what was in the way may pass, and then nothing of it is left.
TEST_F(ZoneServiceTest, ATemporaryZoneThatCouldNotBeUndoneIsTriedAgain) {
  backend_.fail = {"createZone", "destroyZone"};
  EXPECT_ANY_THROW(wait(zones_.create(zoneRequest("of-a-task", true))));
  EXPECT_EQ(zones_.find("of-a-task")->state, ZoneState::failed);
  backend_.fail = {};
  for (int i = 0; i < 1000 && !zones_.list().empty(); ++i) io_.provider->getTimer().afterDelay(10 * kj::MILLISECONDS).wait(io_.waitScope);
  expectNothingLeft();
}

TEST_F(ZoneServiceTest, CallsAboutOneZoneNeverOverlap) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(9);
  for (int i = 0; i < 8; ++i) promises.add(zones_.apply(zone, policy::builtinPolicy("standard")).promise());
  promises.add(zones_.destroy(zone->id).promise());
  kj::joinPromises(promises.finish()).catch_([](kj::Exception&&) {}).wait(io_.waitScope);  // an apply may come too late
  EXPECT_GE(backend_.specs().size(), 2u);
  EXPECT_FALSE(backend_.overlapped());
}

TEST_F(ZoneServiceTest, LostShimMakesAKeptZoneFailed) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  backend_.loseShim(zone->id);
  while (zone->state == ZoneState::ready) io_.waitScope.poll(), io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  EXPECT_EQ(zone->state, ZoneState::failed);
  EXPECT_EQ(store_.zone("web")->state, "failed");
}

TEST_F(ZoneServiceTest, OnlyLimitsCanChange) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  EXPECT_ANY_THROW(wait(zones_.apply(zone, policy::parsePolicy("name = \"p\"\ntype = \"standard\"\ncapabilities = []\n", "p.toml"))));
  std::string toml = zone->policy.toml() + "\n";
  const auto at = toml.find("memory = ");
  ASSERT_NE(at, std::string::npos);
  toml.replace(at, toml.find('\n', at) - at, "memory = \"3GiB\"");
  wait(zones_.apply(zone, policy::parsePolicy(toml, "p.toml")));
  EXPECT_EQ(zone->policy.get().getResources().getMemoryBytes(), 3ULL << 30);
  const auto sent = backend_.specs().back();
  for (const auto& record : sent.records) EXPECT_TRUE(record.tag <= 4 || (record.tag >= 6 && record.tag <= 8)) << record.tag;
}

TEST_F(ZoneServiceTest, ReconcileAdoptsUndoesAndRemoves) {
  const auto row = [&](const char* name, const char* state, bool temporary) {
    store::ZoneRow r;
    r.id = newId("zone");
    r.name = name;
    r.state = state;
    r.temporary = temporary;
    r.policyToml = policy::builtinPolicyToml("standard");
    r.backend = "fake";
    store_.insertZone(r);
    return r.id;
  };
  const auto kept = row("kept", "ready", false);
  row("half", "creating", false);
  row("task", "ready", true);
  std::filesystem::create_directory(directory_ + "/zones/zone_stranger");
  wait(zones_.reconcile());
  EXPECT_EQ(backend_.kept(), std::vector<std::string>{kept});
  ASSERT_EQ(zones_.list().size(), 1u);
  EXPECT_EQ(zones_.find("kept")->state, ZoneState::ready);
  EXPECT_EQ(store_.zones().size(), 1u);
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/zones"));
  for (const char* name : {"reconcile.zone_adopted", "reconcile.zone_removed", "reconcile.object_removed"})
    EXPECT_TRUE(emitted(name)) << name;
}

TEST_F(ZoneServiceTest, AnAdoptedZoneKeepsItsPosture) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  ZoneService next(*io_.lowLevelProvider, workers_, backend_, store_, events_, directory_);
  wait(next.reconcile());
  const auto adopted = next.find("web");
  ASSERT_EQ(adopted->state, ZoneState::ready);
  EXPECT_EQ(packPosture(adopted->posture), packPosture(zone->posture));
  EXPECT_EQ(adopted->posture.userNamespace, "private 1879048192+65536");
  wait(next.destroy(zone->id));
}

TEST_F(ZoneServiceTest, WhatWasNotRecordedIsNotCalledMissing) {
  store::ZoneRow r;
  r.id = newId("zone");
  r.name = "old";
  r.state = "ready";
  r.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(r);
  wait(zones_.reconcile());
  for (const auto& layer : zones_.find("old")->posture.layers) {
    if (layer.name == "enforcer") continue;
    EXPECT_EQ(layer.reason, "not recorded when the zone was made") << layer.name;
  }
  wait(zones_.destroy(r.id));
}

TEST_F(ZoneServiceTest, ProcessesBesideTheInitAreCounted) {
  Zone zone(policy::builtinPolicy("standard"));
  EXPECT_FALSE(processesIn(zone)) << "the backend gave no group";
  zone.cgroup.reset(open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_FALSE(processesIn(zone));
  const auto members = [&](const char* pids) {
    const UniqueFd file(open((directory_ + "/cgroup.procs").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    writeAll(file.get(), pids, "pids");
    return processesIn(zone);
  };
  EXPECT_EQ(members(""), 0u);
  EXPECT_EQ(members("12\n"), 0u);
  EXPECT_EQ(members("12\n13\n4711\n"), 2u);
}

TEST_F(ZoneServiceTest, EventsNameTheZone) {
  const auto zone = wait(zones_.create(zoneRequest("web")));
  wait(zones_.apply(zone, policy::builtinPolicy("standard")));
  wait(zones_.destroy(zone->id));
  for (const char* name : {"zone.creating", "zone.created", "zone.policy_applied", "zone.deleted"}) EXPECT_TRUE(emitted(name)) << name;
}

TEST_F(ZoneServiceTest, ZoneWhoseShimIsGoneIsKeptAsFailed) {
  store::ZoneRow r;
  r.id = newId("zone");
  r.name = "lost";
  r.state = "ready";
  r.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(r);
  backend_.fail = {"connectZone"};
  wait(zones_.reconcile());
  EXPECT_EQ(zones_.find("lost")->state, ZoneState::failed);
  backend_.fail = {};
  wait(zones_.destroy(r.id));
  expectNothingLeft();
}

TEST_F(ZoneServiceTest, HungShimDoesNotHoldUpTheStart) {
  store::ZoneRow r;
  r.id = newId("zone");
  r.name = "hung";
  r.state = "ready";
  r.policyToml = policy::builtinPolicyToml("standard");
  store_.insertZone(r);
  backend_.script.hangs = true;
  wait(zones_.reconcile());
  EXPECT_EQ(zones_.find("hung")->state, ZoneState::failed);
  wait(zones_.destroy(r.id));
  expectNothingLeft();
}

}  // namespace
}  // namespace rauha
