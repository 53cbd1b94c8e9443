#include "core/changes/change_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/changes/change_set_message.h"
#include "core/changes/task_lookup.h"
#include "core/changes/testing/overlay_fixture.h"
#include "core/changes/tree.h"
#include "core/store/task_history.h"
#include "core/store/testing/temporary_directory.h"

namespace rauha::changes {
namespace {

template <typename F>
Code refusal(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return Code::none;
}

class ChangeStoreTest : public ::testing::Test {
 protected:
  ~ChangeStoreTest() noexcept override {}
  void open(Retention retention = {}) {
    changes_ = nullptr;
    Settings settings;
    settings.retention = retention;
    changes_ = std::make_unique<ChangeStore>(directory_.path(), store_, workers_, settings,
                                             [this](const std::string& problem) { problems_.push_back(problem); });
  }
  std::string task(uint32_t owner = 0) {
    store::TaskRow row;
    row.id = newId("task");
    row.state = "finished";
    row.ownerUid = owner;
    row.createdNs = ++clock_;
    store_.insertTask(row);
    return row.id;
  }
  ChangeSet fill(const Destination& destination, uint64_t bytes = 1000, uint64_t added = 3) {
    EXPECT_EQ(mkdirat(destination.directory.get(), "layer", 0755), 0);
    const UniqueFd file(openat(destination.directory.get(), "layer/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    writeAll(file.get(), "kept", "layer/file");
    EXPECT_EQ(fchmod(file.get(), 04777), 0);
    ChangeSet set;
    set.kept = set.followable = true;
    set.keptBytes = bytes;
    set.totals.added = added;
    set.base = {"/repo", 1, 2, 3, 4, 5};
    set.runUid = 6;
    set.runGid = 7;
    writeManifest(destination.directory.get(), set);
    return set;
  }
  std::string keep(uint64_t bytes = 1000, uint32_t owner = 0) {
    const std::string id = task(owner);
    auto destination = changes_->begin(id);
    const ChangeSet set = fill(destination, bytes);
    changes_->commit(std::move(destination), set);
    return id;
  }
  std::vector<std::string> present() {
    changes_->drain().wait(io_.waitScope);
    return names(testing::openTop(directory_.path() + "/changes").get());
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  store::testing::TemporaryDirectory directory_;
  store::Store store_{directory_.path()};
  WorkerPool workers_{2, 64};
  std::unique_ptr<ChangeStore> changes_;
  std::vector<std::string> problems_;
  int64_t clock_ = 0;
};

TEST_F(ChangeStoreTest, ACommittedSetIsThere) {
  open();
  const std::string id = keep();
  EXPECT_EQ(present(), std::vector<std::string>{id});
  EXPECT_TRUE(changes_->isKept(id));
  const auto row = store_.history().changeSet(id);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->counts.added, 3U);
  const auto layer = changes_->openLayer(id);
  EXPECT_EQ(layer.base.path, "/repo");
  EXPECT_EQ(layer.base.inode, 2U);
  EXPECT_EQ(layer.base.startedNs, 5);
  EXPECT_EQ(layer.runUid, 6U);
  EXPECT_EQ(layer.runGid, 7U);
  EXPECT_TRUE(lookup(layer.layer.get(), "file"));
  struct stat st {};
  ASSERT_EQ(stat((directory_.path() + "/changes").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
}

// What a client gets can neither be run (a task may have made it set-user-ID root) nor be written through /proc.
TEST_F(ChangeStoreTest, DescriptorsForClientsAreInert) {
  open();
  const std::string id = keep();
  const auto opened = changes_->open(id);
  const UniqueFd file = openRegularBeneath(opened.layer.get(), "file");
  ASSERT_TRUE(bool(file));
  EXPECT_EQ(readAll(file.get(), "file"), "kept");
  const std::string link = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_FALSE(UniqueFd(::open(link.c_str(), O_RDWR | O_CLOEXEC)));
  EXPECT_EQ(errno, EROFS);
  char* const argv[] = {const_cast<char*>("file"), nullptr};
  char* const none[] = {nullptr};
  EXPECT_EQ(fexecve(file.get(), argv, none), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_LT(openat(opened.layer.get(), "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), 0);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(ChangeStoreTest, AnAbortedSetGoes) {
  open();
  auto destination = changes_->begin(task());
  (void)fill(destination);
  changes_->abort(std::move(destination));
  EXPECT_TRUE(present().empty());
}

TEST_F(ChangeStoreTest, WhatIsNotKeptIsRecordedOnly) {
  open();
  const std::string id = task();
  auto destination = changes_->begin(id);
  ChangeSet set;
  set.totals.modified = 9;
  set.keptNote = "too large";
  changes_->commit(std::move(destination), set);
  EXPECT_TRUE(present().empty());
  EXPECT_EQ(store_.history().changeSet(id)->counts.modified, 9U);
  EXPECT_EQ(refusal([&] { (void)changes_->open(id); }), Code::notFound);
  EXPECT_EQ(refusal([&] { (void)changes_->openLayer(id); }), Code::notFound);
}

TEST_F(ChangeStoreTest, ALayerThatCannotBeMountedIsForReadingOnly) {
  open();
  const std::string id = task();
  auto destination = changes_->begin(id);
  ChangeSet set = fill(destination);
  set.followable = false;
  changes_->commit(std::move(destination), set);
  EXPECT_EQ(refusal([&] { (void)changes_->openLayer(id); }), Code::unsupported);
  EXPECT_TRUE(bool(changes_->open(id).layer));
}

TEST_F(ChangeStoreTest, ADroppedSetStaysReadableForWhoReadsIt) {
  open();
  const std::string id = keep();
  auto opened = changes_->open(id);
  changes_->forget(id);
  EXPECT_FALSE(changes_->isKept(id));
  EXPECT_FALSE(store_.history().changeSet(id));
  EXPECT_EQ(present().size(), 1U);
  EXPECT_TRUE(bool(openRegularBeneath(opened.layer.get(), "file")));
  EXPECT_TRUE(bool(openDirectory(opened.directory.get(), "layer")));
  opened = {};
  EXPECT_TRUE(present().empty());
  changes_->forget(id);  // idempotent
  EXPECT_TRUE(problems_.empty());
}

TEST_F(ChangeStoreTest, ALeaseMayOutliveTheStore) {
  open();
  auto opened = changes_->open(keep());
  changes_ = nullptr;
  opened = {};
  open();
  EXPECT_EQ(present().size(), 1U);
}

TEST_F(ChangeStoreTest, RetentionTakesTheOldestBeyondTheSizeButNotTheNewest) {
  open({0, 2500});
  const std::string a = keep(), b = keep();
  EXPECT_EQ(changes_->retain(), 0U);
  const std::string c = keep();
  EXPECT_FALSE(changes_->isKept(a));
  EXPECT_TRUE(changes_->isKept(b));
  EXPECT_TRUE(changes_->isKept(c));
  EXPECT_TRUE(store_.history().changeSet(a)) << "its totals stay";
  const std::string large = keep(5000);
  EXPECT_FALSE(changes_->isKept(c));
  EXPECT_TRUE(changes_->isKept(large)) << "its result says that it is kept";
  EXPECT_EQ(present(), std::vector<std::string>{large});
}

TEST_F(ChangeStoreTest, ForWantOfSizeOnesOwnGoFirstAndThenWhoHasMost) {
  open({0, 10'000});
  const std::string alice = keep(1000, 1), bob = keep(3000, 2), carol = keep(1000, 3), bob2 = keep(3000, 2), alice2 = keep(1000, 1);
  const std::string large = keep(5000, 1);
  EXPECT_FALSE(changes_->isKept(alice) || changes_->isKept(alice2)) << "her own, newer ones than others have too";
  EXPECT_FALSE(changes_->isKept(bob)) << "then the oldest of him who has most";
  EXPECT_TRUE(changes_->isKept(bob2) && changes_->isKept(carol) && changes_->isKept(large));
  const std::string again = keep(5000, 1);
  EXPECT_FALSE(changes_->isKept(large));
  EXPECT_TRUE(changes_->isKept(bob2) && changes_->isKept(carol) && changes_->isKept(again)) << "whatever she goes on to do";
  EXPECT_EQ(changes_->expired({0, 8000}), std::vector<std::string>{carol}) << "asked for by a person: oldest first, whoever's";
}

TEST_F(ChangeStoreTest, RetentionByAgeSparesWhatAFollowUpUses) {
  open({0, 0});
  const std::string a = keep(), b = keep();
  auto used = changes_->openLayer(a);
  const Retention none{1, 0};
  EXPECT_EQ(changes_->expired(none), std::vector<std::string>{b});
  EXPECT_TRUE(changes_->expired({3600LL * 1'000'000'000, 0}).empty());
  EXPECT_TRUE(changes_->expired({0, 0}).empty());
  used = {};
  EXPECT_EQ(changes_->expired(none), (std::vector<std::string>{a, b}));
  EXPECT_EQ(changes_->expired(none, [&](const std::string& id) { return id == b; }), std::vector<std::string>{b});
}

TEST_F(ChangeStoreTest, AStartRemovesWhatIsNobodys) {
  open();
  const std::string whole = keep(), withoutTask = keep(), withoutContent = keep();
  (void)changes_->begin(task());  // as a daemon that was killed leaves it
  testing::makeDirectories(directory_.path() + "/changes/" + newId("task") + "/layer");
  testing::write(directory_.path() + "/changes/stray", "");
  store_.deleteTask(withoutTask);
  testing::removeAll(directory_.path() + "/changes/" + withoutContent);
  open();
  const auto removed = changes_->reconcile().promise().wait(io_.waitScope);
  EXPECT_EQ(removed.size(), 4U);
  EXPECT_EQ(present(), std::vector<std::string>{whole});
  EXPECT_FALSE(store_.history().changeSet(withoutTask));
  EXPECT_FALSE(changes_->isKept(withoutContent));
  EXPECT_TRUE(store_.history().changeSet(withoutContent));
  EXPECT_TRUE(problems_.empty());
}

TEST_F(ChangeStoreTest, OneTaskHasOneSet) {
  open();
  const std::string id = keep();
  auto destination = changes_->begin(id);
  const ChangeSet set = fill(destination);
  EXPECT_NE(refusal([&] { changes_->commit(std::move(destination), set); }), Code::none);
  EXPECT_EQ(present(), std::vector<std::string>{id});
  EXPECT_NE(refusal([&] { (void)changes_->begin("../../etc"); }), Code::none);
}

TEST_F(ChangeStoreTest, TheLastWithChangesIsNotTheLastAttempt) {
  open();
  const std::string id = keep();
  const uint32_t owner = store_.task(id)->ownerUid;
  const std::string attempt = task(owner);
  EXPECT_EQ(findTask(store_, "last", owner).id, attempt);
  EXPECT_EQ(findTask(store_, "last", owner, Last::withChanges).id, id);
  EXPECT_EQ(findTask(store_, attempt, owner, Last::withChanges).id, attempt);
  const std::string looked = task(owner);
  auto destination = changes_->begin(looked);
  const ChangeSet nothing = fill(destination, 1000, 0);
  changes_->commit(std::move(destination), nothing);
  EXPECT_EQ(findTask(store_, "last", owner).id, looked);
  EXPECT_EQ(findTask(store_, "last", owner, Last::withChanges).id, id) << "nothing of it can be shown or applied";
}

TEST_F(ChangeStoreTest, TasksAreFoundAsPeopleWriteThem) {
  const std::string mine = task(7), other = task(8);
  EXPECT_EQ(findTask(store_, mine, 7).id, mine);
  EXPECT_EQ(findTask(store_, mine.substr(0, 15), 7).id, mine);
  EXPECT_EQ(findTask(store_, mine.substr(5, 10), 7).id, mine);
  EXPECT_EQ(findTask(store_, "last", 7).id, mine);
  EXPECT_EQ(findTask(store_, mine, 0).id, mine);
  EXPECT_EQ(refusal([&] { (void)findTask(store_, other, 7); }), Code::notFound);
  EXPECT_EQ(refusal([&] { (void)findTask(store_, "last", 0); }), Code::notFound);
  for (const std::string brief : {"", "task_", "tas"})
    EXPECT_EQ(refusal([&] { (void)findTask(store_, brief, 0); }), Code::invalid) << brief;
  for (const std::string bad : {"%", "task_%%%%", "../../x", "\xFF\xFF\xFF\xFF"})
    EXPECT_EQ(refusal([&] { (void)findTask(store_, bad, 0); }), Code::notFound) << bad;
  store::TaskRow twin;
  twin.id = mine.substr(0, 24) + (mine.back() == 'a' ? "b" : "a");
  twin.state = "finished";
  twin.ownerUid = 9;
  store_.insertTask(twin);
  EXPECT_EQ(refusal([&] { (void)findTask(store_, mine.substr(0, 20), 0); }), Code::invalid);
  EXPECT_EQ(findTask(store_, mine.substr(0, 20), 7).id, mine) << "another's twin is not there for him";
}

}  // namespace
}  // namespace rauha::changes
