#include "core/store/store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/store/testing/temporary_directory.h"

namespace rauha::store {
namespace {

using testing::TemporaryDirectory;

ZoneRow zoneRow(std::string id, std::string name) {
  ZoneRow row;
  row.id = std::move(id);
  row.name = std::move(name);
  row.state = "creating";
  return row;
}

TaskRow taskRow(std::string id, int64_t createdNs = 1) {
  TaskRow row;
  row.id = std::move(id);
  row.state = "running";
  row.createdNs = createdNs;
  return row;
}

template <typename Function>
Error thrown(Function function) {
  try {
    function();
  } catch (const Error& e) {
    EXPECT_EQ(e.errorClass(), "store");
    return e;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error("store", Code::none, "");
}

class StoreTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  std::unique_ptr<Store> store_ = std::make_unique<Store>(directory_.path());
  void reopen() {
    store_.reset();
    store_ = std::make_unique<Store>(directory_.path());
  }
};

TEST_F(StoreTest, AZoneComesBackAsItWas) {
  ZoneRow row = zoneRow("zone_1", "front");
  row.policyToml = "name = \"x\"\n";
  row.policySource = "p.toml";
  row.policyDigest = "sha256:1";
  row.temporary = true;
  row.taskId = "task_1";
  row.ownerUid = 4294967295u;
  row.backend = "linux";
  row.createdNs = INT64_MAX;
  row.shimPid = 77;
  row.idBase = 4294901760u;
  row.layers = std::string("\0\xff bytes\0", 9);
  store_->insertZone(row);
  reopen();
  const auto back = store_->zone("front");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id, "zone_1");
  EXPECT_EQ(back->name, "front");
  EXPECT_EQ(back->state, "creating");
  EXPECT_EQ(back->policyToml, row.policyToml);
  EXPECT_EQ(back->policySource, row.policySource);
  EXPECT_EQ(back->policyDigest, row.policyDigest);
  EXPECT_TRUE(back->temporary);
  EXPECT_EQ(back->taskId, "task_1");
  EXPECT_EQ(back->ownerUid, row.ownerUid);
  EXPECT_EQ(back->backend, "linux");
  EXPECT_EQ(back->createdNs, INT64_MAX);
  EXPECT_EQ(back->shimPid, 77);
  EXPECT_EQ(back->idBase, row.idBase);
  EXPECT_EQ(back->layers, row.layers);
}

TEST_F(StoreTest, NamesAreUniqueWhileTheZoneIsThere) {
  store_->insertZone(zoneRow("zone_1", "front"));
  const Error taken = thrown([&] { store_->insertZone(zoneRow("zone_2", "front")); });
  EXPECT_EQ(taken.code(), Code::exists);
  EXPECT_EQ(taken.text(), "a zone named 'front' exists");
  EXPECT_EQ(taken.object(), "front");
  EXPECT_EQ(thrown([&] { store_->insertZone(zoneRow("zone_1", "other")); }).text(), "a zone with the id 'zone_1' exists");
  EXPECT_EQ(thrown([&] { store_->insertZone(zoneRow("zone_2", "zone_1")); }).code(), Code::exists);
  EXPECT_EQ(store_->zones().size(), 1u);
  EXPECT_TRUE(store_->deleteZone("zone_1"));
  EXPECT_FALSE(store_->deleteZone("zone_1"));
  store_->insertZone(zoneRow("zone_2", "front"));
  EXPECT_EQ(store_->zone("front")->id, "zone_2");
}

TEST_F(StoreTest, ZonesAreFoundByIdFirst) {
  store_->insertZone(zoneRow("zone_1", "a"));
  store_->insertZone(zoneRow("zone_2", "b"));
  EXPECT_EQ(store_->zone("zone_2")->name, "b");
  EXPECT_EQ(store_->zone("a")->id, "zone_1");
  EXPECT_FALSE(store_->zone("zone_3"));
  EXPECT_FALSE(store_->zone(""));
  EXPECT_FALSE(store_->zone("a' OR '1'='1"));
}

TEST_F(StoreTest, ZonesAreUpdated) {
  store_->insertZone(zoneRow("zone_1", "a"));
  store_->insertZone(zoneRow("zone_2", "b"));
  auto row = *store_->zone("zone_1");
  row.state = "ready";
  row.shimPid = 5;
  store_->updateZone(row);
  EXPECT_EQ(store_->zone("a")->shimPid, 5);
  row.name = "b";
  EXPECT_EQ(thrown([&] { store_->updateZone(row); }).text(), "a zone named 'b' exists");
  EXPECT_EQ(store_->zone("zone_1")->name, "a");
  store_->setZoneState("zone_1", "failed");
  EXPECT_EQ(store_->zone("a")->state, "failed");
  EXPECT_EQ(thrown([&] { store_->setZoneState("zone_9", "failed"); }).code(), Code::notFound);
  EXPECT_EQ(thrown([&] { store_->updateZone(zoneRow("zone_9", "c")); }).code(), Code::notFound);
}

TEST_F(StoreTest, ATaskFromStartToResult) {
  TaskRow row = taskRow("task_1", 5);
  row.zoneId = "zone_1";
  row.zoneName = "z";
  row.requestSummary = "{\"argv\":[]}";
  row.ownerUid = 1000;
  store_->insertTask(row);
  EXPECT_EQ(thrown([&] { store_->insertTask(row); }).code(), Code::exists);
  ASSERT_EQ(store_->openTasks().size(), 1u);
  EXPECT_EQ(store_->openTasks()[0].zoneId, "zone_1");
  const std::string result(3 << 20, '\xfe');
  store_->setTaskSummary("task_1", "{\"image\":\"other\"}");
  EXPECT_EQ(store_->task("task_1")->requestSummary, "{\"image\":\"other\"}");
  EXPECT_EQ(thrown([&] { store_->setTaskSummary("task_2", ""); }).code(), Code::notFound);
  store_->setTaskSummary("task_1", row.requestSummary);
  store_->finishTask("task_1", "timed_out", 9, result);
  EXPECT_TRUE(store_->openTasks().empty());
  reopen();
  const auto back = store_->task("task_1");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->state, "finished");
  EXPECT_EQ(back->status, "timed_out");
  EXPECT_EQ(back->createdNs, 5);
  EXPECT_EQ(back->finishedNs, 9);
  EXPECT_EQ(back->requestSummary, row.requestSummary);
  EXPECT_EQ(back->ownerUid, 1000u);
  EXPECT_EQ(back->result, result);
  EXPECT_EQ(thrown([&] { store_->finishTask("task_2", "failed", 1, ""); }).code(), Code::notFound);
  EXPECT_TRUE(store_->deleteTask("task_1"));
  EXPECT_FALSE(store_->task("task_1"));
}

TEST_F(StoreTest, TasksArePrunedByCountAndAge) {
  for (int i = 1; i <= 10; ++i) {
    store_->insertTask(taskRow("task_" + std::to_string(i), i));
    if (i != 1) store_->finishTask("task_" + std::to_string(i), "succeeded", i * 10, "r");
  }
  EXPECT_EQ(store_->pruneTasks(5, 0), 4u);
  auto left = store_->tasks(100);
  ASSERT_EQ(left.size(), 6u);
  EXPECT_EQ(left.front().id, "task_10");
  EXPECT_EQ(left.back().id, "task_1");  // runs: never pruned
  EXPECT_TRUE(left.front().result.empty());
  EXPECT_EQ(store_->pruneTasks(5, 85), 3u);
  EXPECT_EQ(store_->tasks(100).size(), 3u);
  EXPECT_EQ(store_->tasks(2).size(), 2u);
  EXPECT_EQ(store_->pruneTasks(0, 0), 2u);
}

evidence::Event event(uint64_t sequence, std::string zone, evidence::Severity severity = evidence::Severity::info) {
  evidence::Event e;
  e.sequence = sequence;
  e.timeNs = static_cast<int64_t>(sequence) * 100;
  e.name = "zone.created";
  e.zoneId = std::move(zone);
  e.severity = severity;
  e.source = "core";
  e.message = "m";
  e.attributes = {{"b", "2"}, {"a", std::string("1\0x", 3)}, {"b", ""}};
  return e;
}

TEST_F(StoreTest, EventsComeBackInOrderAndByQuestion) {
  EXPECT_EQ(store_->lastSequence(), 0u);
  auto failed = event(3, "zone_2", evidence::Severity::error);
  failed.taskId = "task_1";
  store_->appendEvents({event(1, "zone_1"), event(2, ""), failed, event(4, "zone_1")});
  reopen();
  EXPECT_EQ(store_->lastSequence(), 4u);
  const auto all = store_->events({});
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].attributes, event(1, "").attributes);
  EXPECT_EQ(all[0].timeNs, 100);
  EXPECT_EQ(all[0].message, "m");
  EventQuery query;
  query.zoneId = "zone_1";
  EXPECT_EQ(store_->events(query).size(), 2u);
  query.afterSequence = 1;
  EXPECT_EQ(store_->events(query).at(0).sequence, 4u);
  EventQuery bad;
  bad.minimum = evidence::Severity::warning;
  EXPECT_EQ(store_->events(bad).at(0).taskId, "task_1");
  EventQuery byTask;
  byTask.taskId = "task_1";
  EXPECT_EQ(store_->events(byTask).size(), 1u);
  EventQuery few;
  few.limit = 2;
  EXPECT_EQ(store_->events(few).back().sequence, 2u);
}

TEST_F(StoreTest, EventsAreAppendedWholeOrNotAtAll) {
  store_->appendEvents({event(5, "")});
  EXPECT_EQ(thrown([&] { store_->appendEvents({event(6, ""), event(5, "")}); }).code(), Code::exists);
  EXPECT_EQ(store_->events({}).size(), 1u);
  store_->appendEvents({event(6, "")});
  EXPECT_EQ(store_->events({}).size(), 2u);
}

TEST_F(StoreTest, EventsArePruned) {
  for (uint64_t i = 1; i <= 10; ++i) store_->appendEvents({event(i, "")});
  EXPECT_EQ(store_->pruneEvents(20), 0u);
  EXPECT_EQ(store_->pruneEvents(4), 6u);
  const auto left = store_->events({});
  ASSERT_EQ(left.size(), 4u);
  EXPECT_EQ(left[0].sequence, 7u);
  EXPECT_EQ(left[0].attributes.size(), 3u);
  EXPECT_EQ(store_->pruneEvents(0), 4u);
  EXPECT_EQ(store_->lastSequence(), 0u);
}

TEST_F(StoreTest, CountersOutliveTheDaemon) {
  EXPECT_EQ(store_->counter("events.dropped"), 0);
  store_->addToCounter("events.dropped", 3);
  store_->addToCounter("events.dropped", 4);
  reopen();
  EXPECT_EQ(store_->counter("events.dropped"), 7);
}

TEST_F(StoreTest, OneDaemonForOneDirectory) {
  const Error held = thrown([&] { Store second(directory_.path()); });
  EXPECT_EQ(held.code(), Code::busy);
  EXPECT_NE(held.text().find("held by rauhad with pid " + std::to_string(getpid())), std::string::npos) << held.text();
  store_.reset();
  EXPECT_NO_THROW(Store again(directory_.path()));
}

TEST_F(StoreTest, PluginsKeepTheirOwnStatePerZone) {
  store_->insertZone(zoneRow("zone_1", "a"));
  const std::string bytes("\0\xff x", 4);
  store_->putPluginState("one", "zone_1", "before");
  store_->putPluginState("one", "zone_1", bytes);
  store_->putPluginState("two", "zone_1", "");
  reopen();
  EXPECT_EQ(store_->pluginState("one", "zone_1"), bytes);
  EXPECT_EQ(store_->pluginState("two", "zone_1"), "");
  EXPECT_EQ(store_->pluginState("three", "zone_1"), std::nullopt);
  store_->erasePluginState("two", "zone_1");
  store_->erasePluginState("two", "zone_1");
  EXPECT_EQ(store_->pluginState("two", "zone_1"), std::nullopt);
  EXPECT_EQ(thrown([&] { store_->putPluginState("one", "zone_2", "x"); }).code(), Code::notFound);
}

TEST_F(StoreTest, PluginStateGoesWithItsZone) {
  store_->insertZone(zoneRow("zone_1", "a"));
  store_->insertZone(zoneRow("zone_2", "b"));
  store_->putPluginState("one", "zone_1", "x");
  store_->putPluginState("one", "zone_2", "y");
  store_->deleteZone("zone_1");
  store_->insertZone(zoneRow("zone_1", "a"));
  EXPECT_EQ(store_->pluginState("one", "zone_1"), std::nullopt);
  EXPECT_EQ(store_->pluginState("one", "zone_2"), "y");
}

TEST_F(StoreTest, PluginStateIsWrittenFromAnyThread) {
  store_->insertZone(zoneRow("zone_1", "a"));
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const std::string plugin = "p" + std::to_string(t);
      for (int i = 0; i < 200; ++i) {
        store_->putPluginState(plugin, "zone_1", std::to_string(i));
        EXPECT_EQ(store_->pluginState(plugin, "zone_1"), std::to_string(i));
      }
    });
  for (int i = 0; i < 200; ++i) store_->setZoneState("zone_1", i % 2 == 0 ? "ready" : "failed");
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace rauha::store
