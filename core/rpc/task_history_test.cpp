// The services about finished tasks, through capabilities of this process.

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/ids.h"
#include "core/base/schema_error.h"
#include "core/changes/change_set_message.h"
#include "core/rpc/reply_limit.h"
#include "core/rpc/request_summary.h"
#include "core/rpc/task_history_service.h"
#include "core/store/task_history.h"
#include "core/store/testing/temporary_directory.h"

namespace rauha::rpc {
namespace {

using schema::ErrorCode;

class Server final : public schema::Rauha::Server {
 public:
  Server(store::Store& store, changes::ChangeStore& changes, uint32_t uid) : history_(store, changes, uid) {}
  kj::Promise<void> listTasks(ListTasksContext context) override { return history_.listTasks(context); }
  kj::Promise<void> showTask(ShowTaskContext context) override { return history_.showTask(context); }
  kj::Promise<void> deleteTask(DeleteTaskContext context) override { return history_.deleteTask(context); }
  kj::Promise<void> pruneTasks(PruneTasksContext context) override { return history_.pruneTasks(context); }
  kj::Promise<void> openChanges(OpenChangesContext context) override { return history_.openChanges(context); }

 private:
  TaskHistoryService history_;
};

class TaskHistoryServiceTest : public ::testing::Test {
 protected:
  ~TaskHistoryServiceTest() noexcept override {}

  schema::Rauha::Client client(uint32_t uid) { return kj::heap<Server>(store_, changes_, uid); }

  std::string running(uint32_t owner) {
    store::TaskRow row;
    row.id = newId("task");
    row.state = "running";
    row.ownerUid = owner;
    row.createdNs = ++clock_;
    row.requestSummary = R"({"image":"host","command":["/bin/echo","a b"]})";
    store_.insertTask(row);
    return row.id;
  }
  // With a change set of `count` changes, of which the layer has the first five files; 0: without.
  std::string finished(uint32_t owner, size_t count = 0) {
    const std::string id = running(owner);
    changes::ChangeSet set;
    if (count > 0) set = keep(id, count);
    capnp::MallocMessageBuilder message;
    auto result = message.initRoot<schema::TaskResult>();
    result.setTaskId(id);
    result.setStdout("output");
    if (count > 0) changes::writeChangeSet(result.initChanges(), set);
    const auto words = capnp::messageToFlatArray(message);
    const auto bytes = words.asBytes();
    store_.finishTask(id, "succeeded", ++clock_, {reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
    return id;
  }
  changes::ChangeSet keep(const std::string& id, size_t count) {
    auto destination = changes_.begin(id);
    const int directory = destination.directory.get();
    EXPECT_EQ(mkdirat(directory, "layer", 0755), 0);
    for (const std::string name : {"f0", "f1", "f2", "f3", "f4"}) {
      const UniqueFd file(openat(directory, ("layer/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      writeAll(file.get(), "content of " + name, name);
    }
    EXPECT_EQ(symlinkat("/etc/passwd", directory, "layer/link"), 0);
    EXPECT_EQ(mkfifoat(directory, "layer/fifo", 0644), 0);
    changes::ChangeSet set;
    for (size_t i = 0; i < count; ++i) {
      changes::Change change;
      change.path = "f" + std::to_string(i);
      change.kind = changes::Kind::added;
      change.after.type = changes::FileType::regular;
      set.changes.push_back(change);
    }
    set.totals.added = count;
    set.kept = set.followable = true;
    set.keptBytes = 1000;
    set.base.path = "/repo\xFF";
    changes::writeManifest(directory, set);
    changes_.commit(std::move(destination), set);
    return set;
  }
  template <typename Response>
  static ErrorCode code(Response& response) {
    return response.getOutcome().isError() ? response.getOutcome().getError().getCode() : ErrorCode::NONE;
  }
  auto list(uint32_t uid, uint32_t limit = 0) {
    auto call = client(uid).listTasksRequest();
    call.setLimit(limit);
    return call.send().wait(io_.waitScope);
  }
  auto show(uint32_t uid, const std::string& id) {
    auto call = client(uid).showTaskRequest();
    call.setTaskId(id);
    return call.send().wait(io_.waitScope);
  }
  ErrorCode remove(uint32_t uid, const std::string& id) {
    auto call = client(uid).deleteTaskRequest();
    call.setTaskId(id);
    auto response = call.send().wait(io_.waitScope);
    return code(response);
  }
  auto prune(uint32_t uid, uint64_t olderThanMs, uint64_t maxBytes, bool dryRun) {
    auto call = client(uid).pruneTasksRequest();
    call.setOlderThanMs(olderThanMs);
    call.setMaxBytes(maxBytes);
    call.setDryRun(dryRun);
    return call.send().wait(io_.waitScope);
  }
  auto open(uint32_t uid, const std::string& id) {
    auto call = client(uid).openChangesRequest();
    call.setTaskId(id);
    return call.send().wait(io_.waitScope);
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  store::testing::TemporaryDirectory directory_;
  store::Store store_{directory_.path()};
  WorkerPool workers_{2, 64};
  changes::ChangeStore changes_{directory_.path(), store_, workers_, changes::Settings{{0, 0}, {}, {}}, [](const std::string&) {}};
  int64_t clock_ = 0;
};

TEST_F(TaskHistoryServiceTest, ListsOnesOwn) {
  const std::string mine = finished(7, 3), others = finished(8), mineNow = running(7);
  auto response = list(7);
  const auto tasks = response.getTasks();
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_STREQ(tasks[0].getTaskId().cStr(), mineNow.c_str());
  EXPECT_STREQ(tasks[0].getStatus().cStr(), "running");
  EXPECT_FALSE(tasks[0].hasFinishedAt());
  EXPECT_FALSE(tasks[0].hasChanges());
  EXPECT_STREQ(tasks[1].getTaskId().cStr(), mine.c_str());
  EXPECT_STREQ(tasks[1].getStatus().cStr(), "succeeded");
  EXPECT_STREQ(tasks[1].getImage().cStr(), "host");
  ASSERT_EQ(tasks[1].getCommand().size(), 2U);
  EXPECT_STREQ(tasks[1].getCommand()[1].cStr(), "a b");
  EXPECT_TRUE(tasks[1].hasFinishedAt());
  EXPECT_EQ(tasks[1].getChanges().getAdded(), 3U);
  EXPECT_TRUE(tasks[1].getKept());
  EXPECT_EQ(tasks[1].getKeptBytes(), 1000U);
  EXPECT_STREQ(tasks[1].getRepoPath().cStr(), "/repo\xEF\xBF\xBD");
  EXPECT_EQ(list(0).getTasks().size(), 3U);
  EXPECT_EQ(list(0, 1).getTasks().size(), 1U);
  EXPECT_EQ(list(9).getTasks().size(), 0U);
}

// What does not fit is left out; a reply that is too large would be none.
TEST_F(TaskHistoryServiceTest, AListIsBoundedByBytes) {
  store::TaskRow row;
  row.state = "running";
  row.requestSummary = R"({"image":")" + std::string(1 << 20, 'i') + R"(","command":[]})";
  for (int i = 0; i < 5; ++i) {
    row.id = newId("task");
    row.createdNs = ++clock_;
    store_.insertTask(row);
  }
  auto response = list(0);
  const size_t bytes = response.totalSize().wordCount * sizeof(capnp::word);
  EXPECT_LE(bytes, kMostListBytes);
  EXPECT_EQ(response.getTasks().size(), kMostListBytes / (6u << 20));
  EXPECT_STREQ(response.getTasks()[0].getTaskId().cStr(), row.id.c_str()) << "the newest are listed";
}

TEST_F(TaskHistoryServiceTest, ShowsWhatIsStillTrue) {
  const std::string id = finished(7, 3);
  auto response = show(7, id);
  EXPECT_EQ(code(response), ErrorCode::NONE);
  EXPECT_STREQ(response.getResult().getStdout().cStr(), "output");
  EXPECT_TRUE(response.getResult().getChanges().getKept());
  changes_.drop(id);
  auto later = show(7, "last");
  EXPECT_FALSE(later.getResult().getChanges().getKept());
  EXPECT_TRUE(later.getResult().getChanges().hasKeptNote());
  EXPECT_EQ(later.getResult().getChanges().getTotals().getAdded(), 3U);
}

TEST_F(TaskHistoryServiceTest, AnothersTaskIsNotThere) {
  const std::string id = finished(7, 1), now = running(7);
  auto shown = show(8, id);
  EXPECT_EQ(code(shown), ErrorCode::NOT_FOUND);
  EXPECT_FALSE(shown.hasResult());
  auto opened = open(8, id);
  EXPECT_EQ(code(opened), ErrorCode::NOT_FOUND);
  EXPECT_FALSE(opened.hasChanges());
  EXPECT_EQ(remove(8, id), ErrorCode::NOT_FOUND);
  EXPECT_EQ(remove(8, now), ErrorCode::NOT_FOUND);
  EXPECT_EQ(prune(8, 0, 1, false).getTasks().size(), 0U);
  EXPECT_TRUE(changes_.isKept(id));
  EXPECT_EQ(remove(0, id), ErrorCode::NONE);
}

TEST_F(TaskHistoryServiceTest, ABeginningThatIsTooShortOrAmbiguousIsSaid) {
  for (const char* id : {"task_abcd1", "task_abcd2", "task_abce1"}) {
    store::TaskRow row;
    row.id = id;
    row.state = "running";
    row.ownerUid = 7;
    store_.insertTask(row);
  }
  const auto said = [this](const char* beginning) {
    auto response = show(7, beginning);
    return std::string(response.getOutcome().getError().getText().cStr());
  };
  for (const char* beginning : {"task_", "task_abc", "abc"})
    EXPECT_NE(said(beginning).find("too short"), std::string::npos) << said(beginning);
  EXPECT_EQ(said("abcd"), "'abcd' is ambiguous: 2 tasks begin so, task_abcd1 and task_abcd2 among them");
  EXPECT_NE(said("task_abce").find("task_abce1 is still running"), std::string::npos) << "unique";
  EXPECT_NE(said("task_none").find("no task"), std::string::npos);
}

TEST_F(TaskHistoryServiceTest, HowTheRepositoryWasGivenSaysWhereItsChangesAre) {
  const auto kept = [this](const char* id, const char* mode, const char* state) {
    store::TaskRow row;
    row.id = id;
    row.state = state;
    row.ownerUid = 7;
    row.requestSummary = std::string(R"({"image":"host","command":[],"repo_mode":")") + mode + R"(","repository":"/my/repo"})";
    store_.insertTask(row);
  };
  kept("task_aaaa", "rw", "finished");
  kept("task_bbbb", "ro", "finished");
  kept("task_cccc", "none", "finished");
  kept("task_dddd", "overlay", "running");
  const auto said = [this](const char* id) {
    auto response = open(7, id);
    return std::string(response.getOutcome().getError().getText().cStr());
  };
  EXPECT_EQ(said("task_aaaa"), "task task_aaaa ran with --repo-mode rw: its changes are in the tree");
  EXPECT_EQ(said("task_bbbb"), "task task_bbbb ran with --repo-mode ro: it could not change the tree");
  EXPECT_EQ(said("task_cccc"), "task task_cccc had no repository");
  auto running = open(7, "task_dddd");
  EXPECT_NE(std::string(running.getOutcome().getError().getHint().cStr()).find("Ctrl-C where its `rauha sandbox` runs"), std::string::npos);
  auto listed = list(7);
  ASSERT_EQ(listed.getTasks().size(), 4U);
  for (const auto task : listed.getTasks()) EXPECT_EQ(std::string(task.getRepoPath().cStr()), "/my/repo");
}

TEST_F(TaskHistoryServiceTest, WhatRunsIsInConflict) {
  const std::string id = running(7);
  auto shown = show(7, id);
  auto opened = open(7, id);
  EXPECT_EQ(code(shown), ErrorCode::CONFLICT);
  EXPECT_EQ(code(opened), ErrorCode::CONFLICT);
  EXPECT_EQ(remove(7, id), ErrorCode::CONFLICT);
}

TEST_F(TaskHistoryServiceTest, DeletesRecordAndSet) {
  const std::string id = finished(7, 1);
  EXPECT_EQ(remove(7, id), ErrorCode::NONE);
  EXPECT_FALSE(store_.task(id));
  EXPECT_FALSE(store_.history().changeSet(id));
  EXPECT_EQ(remove(7, id), ErrorCode::NOT_FOUND);
}

TEST_F(TaskHistoryServiceTest, PrunesOldestFirst) {
  const std::string a = finished(7, 1), b = finished(7, 1), without = finished(7), c = finished(8, 1);
  auto dry = prune(7, 0, 1500, true);
  ASSERT_EQ(dry.getTasks().size(), 1U);
  EXPECT_STREQ(dry.getTasks()[0].getTaskId().cStr(), a.c_str());
  EXPECT_EQ(dry.getFreedBytes(), 1000U);
  EXPECT_TRUE(changes_.isKept(a));
  // The clock of these records stands in 1970; the change sets are of now.
  auto aged = prune(7, 3'600'000, 0, false);
  ASSERT_EQ(aged.getTasks().size(), 1U) << "a task without a change set goes by its age";
  EXPECT_STREQ(aged.getTasks()[0].getTaskId().cStr(), without.c_str());
  EXPECT_EQ(prune(7, 0, 0, false).getTasks().size(), 0U) << "the configured retention has no limits here";
  auto done = prune(7, 0, 1500, false);
  EXPECT_EQ(done.getFreedBytes(), 1000U);
  EXPECT_FALSE(store_.task(a));
  EXPECT_TRUE(store_.task(b));
  EXPECT_FALSE(store_.task(without));
  EXPECT_EQ(prune(0, 0, 1, false).getTasks().size(), 2U);
  EXPECT_FALSE(store_.task(c));
}

TEST_F(TaskHistoryServiceTest, ChangesComeInPages) {
  const std::string id = finished(7, 10'000);
  const int64_t began = monotonicNs();
  auto opened = open(7, id.substr(0, 12));
  ASSERT_EQ(code(opened), ErrorCode::NONE);
  EXPECT_STREQ(opened.getTaskId().cStr(), id.c_str());
  auto reader = opened.getChanges();
  auto info = reader.infoRequest().send().wait(io_.waitScope);
  EXPECT_EQ(info.getCount(), 10'000U);
  EXPECT_EQ(info.getSet().getTotals().getAdded(), 10'000U);
  EXPECT_EQ(info.getSet().getChanges().size(), 0U);
  uint64_t seen = 0;
  for (;;) {
    auto call = reader.changesRequest();
    call.setFirst(seen);
    call.setLimit(100'000);
    auto page = call.send().wait(io_.waitScope);
    if (page.getChanges().size() == 0) break;
    EXPECT_EQ(page.getChanges().size(), 1000U);
    EXPECT_EQ(page.getChanges()[0].getPath(), kj::str("f", seen));
    seen += page.getChanges().size();
  }
  EXPECT_EQ(seen, 10'000U);
  RecordProperty("milliseconds", std::to_string((monotonicNs() - began) / 1'000'000));
  auto beyond = reader.changesRequest();
  beyond.setFirst(UINT64_MAX);
  beyond.setLimit(1);
  EXPECT_EQ(beyond.send().wait(io_.waitScope).getChanges().size(), 0U);
}

TEST_F(TaskHistoryServiceTest, OpensOnlyRegularFilesOfTheLayer) {
  auto reader = open(7, finished(7, 5)).getChanges();
  const auto ask = [&](const std::vector<std::string>& paths) {
    auto call = reader.openRequest();
    auto list = call.initPaths(static_cast<unsigned>(paths.size()));
    for (unsigned i = 0; i < list.size(); ++i)
      list.set(i, kj::arrayPtr(reinterpret_cast<const kj::byte*>(paths[i].data()), paths[i].size()));
    return call.send().wait(io_.waitScope);
  };
  auto good = ask({"f0", "f1", "f2", "f3", "f4"});
  ASSERT_EQ(good.getFiles().size(), 5U);
  for (unsigned i = 0; i < 4; ++i) {
    auto file = good.getFiles()[i];
    KJ_IF_MAYBE (fd, file.getFd().wait(io_.waitScope))
      EXPECT_EQ(readAll(*fd, "file"), "content of f" + std::to_string(i));
    else
      ADD_FAILURE() << "no descriptor";
    EXPECT_EQ(good.getErrors()[i].size(), 0U);
  }
  EXPECT_STREQ(good.getErrors()[4].cStr(), "at most 4 files are opened at once");
  for (const std::string& bad : {std::string("link"), std::string("fifo"), std::string("."), std::string(".."), std::string("../manifest"),
                                 std::string("/etc/passwd"), std::string(""), std::string("absent"), std::string("f0\0", 3),
                                 std::string(5000, 'x'), std::string("f0/")})
    EXPECT_GT(ask({bad}).getErrors()[0].size(), 0U) << bad;
}

TEST_F(TaskHistoryServiceTest, AReaderOutlivesItsTask) {
  const std::string id = finished(7, 5);
  auto reader = open(7, id).getChanges();
  EXPECT_EQ(remove(7, id), ErrorCode::NONE);
  auto call = reader.openRequest();
  call.initPaths(1).set(0, kj::arrayPtr(reinterpret_cast<const kj::byte*>("f0"), 2));
  EXPECT_EQ(call.send().wait(io_.waitScope).getErrors()[0].size(), 0U);
  EXPECT_EQ(reader.infoRequest().send().wait(io_.waitScope).getCount(), 5U);
}

TEST(RequestSummary, ReadsWhatTheRecordHas) {
  const auto good = readRequestSummary(R"({"image":"host","command":["a","b"]})");
  EXPECT_EQ(good.image, "host");
  EXPECT_EQ(good.command, (std::vector<std::string>{"a", "b"}));
  for (const auto bad : {"", "{", "[]", "null", R"({"image":1,"command":{}})"}) {
    EXPECT_TRUE(readRequestSummary(bad).image.empty()) << bad;
    EXPECT_TRUE(readRequestSummary(bad).command.empty()) << bad;
  }
}

}  // namespace
}  // namespace rauha::rpc
