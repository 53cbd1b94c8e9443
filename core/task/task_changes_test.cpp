#include "core/task/task_changes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/ids.h"
#include "core/store/testing/temporary_directory.h"
#include "core/zone/agent_client.h"

namespace rauha {
namespace {

class FakeAgent final : public schema::Agent::Server {
 public:
  explicit FakeAgent(int layer) : layer_(layer) {}
  kj::Promise<void> writableLayer(WritableLayerContext context) override {
    context.getResults().initOutcome().setOk();
    context.getResults().setLayer(kj::heap<DescriptorServer>(duplicate(layer_)));
    return kj::READY_NOW;
  }

 private:
  int layer_;
};

class TaskChangesTest : public ::testing::Test {
 protected:
  ~TaskChangesTest() noexcept override {}
  TaskChangesTest() {
    store::TaskRow row;
    row.id = id_;
    row.state = "running";
    store_.insertTask(row);
    for (const char* name : {"repo", "upper"}) mkdir(path(name).c_str(), 0755);
    repo_ = UniqueFd(open(path("repo").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    upper_ = UniqueFd(open(path("upper").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  void files(int count) const {
    const std::string content(64 << 10, 'x');
    for (int i = 0; i < count; ++i) {
      const UniqueFd file(openat(upper_.get(), std::to_string(i).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      writeAll(file.get(), content, "a file of the layer");
    }
  }
  std::unique_ptr<TaskChanges> attached() {
    struct stat st {};
    fstat(repo_.get(), &st);
    auto out =
        std::make_unique<TaskChanges>(services_, id_, TaskChanges::Repository{repo_.get(), path("repo"), st}, "", rpc::Peer{1, 0, 0});
    out->attach(kj::heap<FakeAgent>(upper_.get()), id_, 0, 0).promise().wait(io_.waitScope);
    return out;
  }

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  store::testing::TemporaryDirectory directory_;
  const std::string id_ = newId("task");
  store::Store store_{directory_.path()};
  WorkerPool workers_{2, 16};
  changes::ChangeStore changes_{directory_.path(), store_, workers_, {}, [](const std::string&) {}};
  const ChangeServices services_{changes_, workers_, store_};
  UniqueFd repo_, upper_;
};

TEST_F(TaskChangesTest, WhatTheTaskWroteIsCollected) {
  files(3);
  auto changes = attached();
  changes->collect({"repository: a note"}).promise().wait(io_.waitScope);
  ASSERT_TRUE(changes->collected());
  EXPECT_EQ(changes->set().totals.added, 3U);
  EXPECT_TRUE(changes->set().kept) << changes->set().keptNote;
  EXPECT_EQ(changes->set().notes.at(0), "repository: a note");
}

// The worker reads descriptors and settings of what is gone by then: it has to have its own, and to end soon.
TEST_F(TaskChangesTest, DroppedWhileItCollects) {
  files(2000);
  auto changes = attached();
  auto collecting = changes->collect({}).promise().eagerlyEvaluate(nullptr);
  while (workers_.counts().running == 0) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  collecting = nullptr;
  changes = nullptr;
  repo_.reset();
  upper_.reset();
  while (workers_.counts().running > 0) io_.provider->getTimer().afterDelay(kj::MILLISECONDS).wait(io_.waitScope);
  EXPECT_FALSE(changes_.isKept(id_));
  // What was begun is nobody's, and goes at the next start.
  const auto removed = changes_.reconcile().promise().wait(io_.waitScope);
  ASSERT_EQ(removed.size(), 1U);
  EXPECT_NE(removed[0].find(".new-" + id_), std::string::npos);
  changes_.drain().wait(io_.waitScope);
}

}  // namespace
}  // namespace rauha
