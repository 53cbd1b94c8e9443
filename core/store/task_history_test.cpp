#include "core/store/task_history.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/store/testing/temporary_directory.h"

namespace rauha::store {
namespace {

class TaskHistoryTest : public ::testing::Test {
 protected:
  void task(const std::string& id, uint32_t owner, int64_t createdNs) {
    TaskRow row;
    row.id = id;
    row.state = "finished";
    row.ownerUid = owner;
    row.createdNs = createdNs;
    store_->insertTask(row);
  }
  static ChangeSetRow set(const std::string& taskId, int64_t createdNs) {
    ChangeSetRow row;
    row.taskId = taskId;
    row.fromTask = "task_from";
    row.kept = row.followable = true;
    row.bytes = 4096;
    row.createdNs = createdNs;
    row.basePath = "/a\n\xFF";
    row.baseDevice = UINT64_MAX;
    row.baseInode = 7;
    row.baseUid = row.baseGid = UINT32_MAX;
    row.baseStartedNs = 11;
    row.runUid = 1000;
    row.runGid = 1001;
    row.counts = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    return row;
  }
  testing::TemporaryDirectory directory_;
  std::unique_ptr<Store> store_ = std::make_unique<Store>(directory_.path());
  TaskHistory& history() { return store_->history(); }
};

TEST_F(TaskHistoryTest, TasksWithAKeptChangeSetAreNotPruned) {
  for (const char* id : {"task_kept", "task_dropped", "task_plain", "task_newest"}) task(id, 1, 1);
  history().insertChangeSet(set("task_kept", 5));
  history().insertChangeSet(set("task_dropped", 5));
  history().setChangeSetDropped("task_dropped");
  EXPECT_EQ(store_->pruneTasks(1, 0), 2U);
  EXPECT_TRUE(store_->task("task_kept"));
  EXPECT_TRUE(store_->task("task_newest"));
  history().setChangeSetDropped("task_kept");
  EXPECT_EQ(store_->pruneTasks(1, 0), 1U);
  EXPECT_FALSE(store_->task("task_kept"));
}

TEST_F(TaskHistoryTest, AChangeSetOutlivesTheDaemon) {
  task("task_a", 1, 1);
  history().insertChangeSet(set("task_a", 5));
  store_.reset();
  store_ = std::make_unique<Store>(directory_.path());
  const auto row = history().changeSet("task_a");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->fromTask, "task_from");
  EXPECT_TRUE(row->kept);
  EXPECT_TRUE(row->followable);
  EXPECT_EQ(row->bytes, 4096U);
  EXPECT_EQ(row->createdNs, 5);
  EXPECT_EQ(row->basePath, "/a\n\xFF");
  EXPECT_EQ(row->baseDevice, UINT64_MAX);
  EXPECT_EQ(row->baseInode, 7U);
  EXPECT_EQ(row->baseUid, UINT32_MAX);
  EXPECT_EQ(row->baseStartedNs, 11);
  EXPECT_EQ(row->runUid, 1000U);
  EXPECT_EQ(row->runGid, 1001U);
  EXPECT_EQ(row->counts.added, 1U);
  EXPECT_EQ(row->counts.noise, 9U);
  EXPECT_FALSE(history().changeSet("task_b"));
}

TEST_F(TaskHistoryTest, ATaskHasOneSet) {
  task("task_a", 1, 1);
  history().insertChangeSet(set("task_a", 5));
  try {
    history().insertChangeSet(set("task_a", 6));
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::exists);
  }
  EXPECT_EQ(history().changeSet("task_a")->createdNs, 5);
}

TEST_F(TaskHistoryTest, ADroppedSetKeepsItsTotals) {
  task("task_a", 1, 1);
  history().insertChangeSet(set("task_a", 5));
  history().setChangeSetDropped("task_a");
  const auto row = history().changeSet("task_a");
  ASSERT_TRUE(row);
  EXPECT_FALSE(row->kept);
  EXPECT_FALSE(row->followable);
  EXPECT_EQ(row->bytes, 0U);
  EXPECT_EQ(row->counts.modified, 2U);
}

TEST_F(TaskHistoryTest, OldestFirstAndOrphansGo) {
  task("task_b", 1, 1);
  history().insertChangeSet(set("task_c", 9));
  history().insertChangeSet(set("task_b", 7));
  ASSERT_EQ(history().changeSets().size(), 2U);
  EXPECT_EQ(history().changeSets()[0].taskId, "task_b");
  EXPECT_EQ(history().deleteOrphanedChangeSets(), 1U);
  ASSERT_EQ(history().changeSets().size(), 1U);
  EXPECT_TRUE(history().deleteChangeSet("task_b"));
  EXPECT_FALSE(history().deleteChangeSet("task_b"));
}

TEST_F(TaskHistoryTest, TasksAreFoundByOwnerAndBeginning) {
  task("task_ab1", 1, 10);
  task("task_ab2", 2, 30);
  task("task_ac1", 1, 20);
  const auto all = history().newest(std::nullopt, 10);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].id, "task_ab2");
  const auto mine = history().newest(1, 10);
  ASSERT_EQ(mine.size(), 2U);
  EXPECT_EQ(mine[0].id, "task_ac1");
  EXPECT_EQ(history().newest(1, 1).size(), 1U);
  EXPECT_TRUE(history().newest(0, 10).empty());
  EXPECT_EQ(history().idsThatBegin("task_ab", std::nullopt, 10), (std::vector<std::string>{"task_ab1", "task_ab2"}));
  EXPECT_EQ(history().idsThatBegin("task_ab", 1, 10), (std::vector<std::string>{"task_ab1"}));
  EXPECT_EQ(history().idsThatBegin("task_", std::nullopt, 2).size(), 2U);
  EXPECT_TRUE(history().idsThatBegin("task_b", std::nullopt, 10).empty());
  EXPECT_TRUE(history().idsThatBegin("%", std::nullopt, 10).empty());
}

}  // namespace
}  // namespace rauha::store
