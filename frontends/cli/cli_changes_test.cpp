// `rauha diff`, `apply` and `task`, the whole program against the fake daemon: text, JSON, errors, exit status.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "frontends/cli/testing/program.h"

namespace rauha::cli::testing {
namespace {

namespace fs = std::filesystem;

class Changes : public CliTest {
 protected:
  Changes() {
    fs::create_directories(root_ + "/host");
    fs::create_directories(root_ + "/layer");
    fs::current_path(root_ + "/host");  // `apply last` looks whose repository the caller is in
  }
  ~Changes() override { fs::current_path("/"); }
  void put(const std::string& path, const std::string& content) const {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << content;
    chmod((root_ + "/" + path).c_str(), 0644);
  }
  // Five changes: more than a page of the fake.
  void task() const {
    for (const char* name : {"a", "b", "gone"}) put(std::string("host/") + name, "old\n");
    for (const char* name : {"a", "b", "new", ".envrc"}) put(std::string("layer/") + name, "new\n");
    put("fake-changes", "A .envrc\nM a\nM b\nD gone\nA new\n");
  }
  nlohmann::json json(std::vector<std::string> words, int status = 0) const {
    words.emplace_back("--json");
    const auto finished = run(words);
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    return finished.json();
  }
  std::string text(const std::vector<std::string>& words, int status = 0) const {
    const auto finished = run(words);
    EXPECT_EQ(finished.status, status) << finished.out << finished.err;
    return finished.out;
  }
  std::string host(const std::string& name) const {
    std::ifstream in(root_ + "/host/" + name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
};

TEST_F(Changes, diff) {
  task();
  const std::string shown = text({"diff", "last"});
  EXPECT_NE(shown.find("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+new\n"), std::string::npos) << shown;
  EXPECT_LT(shown.find(".envrc"), shown.find("--- a/a")) << "what runs code comes first";
  EXPECT_NE(text({"diff", "task_0", "--stat", "new"}).find(" new | 1 +\n"), std::string::npos);
  EXPECT_EQ(text({"diff", "last", "--name-status", "a", "gone"}), "M\ta\nD\tgone\n");
  EXPECT_NE(text({"diff", "last", "--patch"}).find("deleted file mode 100644"), std::string::npos);
  const auto document = json({"diff", "last"});
  EXPECT_EQ(document["changes"].size(), 5u);
  EXPECT_EQ(document["changes"][1]["kind"], "modified");
  EXPECT_EQ(json({"diff", "last", "b"})["changes"].size(), 1u);
  EXPECT_EQ(json({"diff", "task_1"}, 1)["error"]["code"], "not_found");
  EXPECT_EQ(json({"diff", "last", "nothing"}, 2)["error"]["object"], "nothing");
  EXPECT_EQ(json({"diff", "last", "../x"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"diff", "last", "--stat"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"diff"}, 2)["error"]["class"], "usage");
}

TEST_F(Changes, pathsThatLookLikeOptions) {
  put("layer/-rf", "new\n");
  put("fake-changes", "A -rf\n");
  EXPECT_EQ(text({"diff", "last", "--name-status", "--", "-rf"}), "A\t-rf\n");
}

TEST_F(Changes, apply) {
  task();
  auto document = json({"apply", "last", "--dry-run"});
  EXPECT_EQ(document["counts"]["pending"], 4);
  EXPECT_EQ(document["changes"][0]["protected"], "directory environment") << document.dump();
  EXPECT_EQ(host("a"), "old\n");
  document = json({"apply", "last", "b"});
  EXPECT_EQ(host("b"), "new\n");
  EXPECT_EQ(host("a"), "old\n");
  const std::string told = text({"apply", "last"});
  EXPECT_NE(told.find("--include-protected"), std::string::npos) << told;
  EXPECT_EQ(host("a"), "new\n");
  EXPECT_FALSE(fs::exists(root_ + "/host/gone"));
  EXPECT_FALSE(fs::exists(root_ + "/host/.envrc"));
  document = json({"apply", "last", "--include-protected", "--all-or-nothing"});
  EXPECT_EQ(document["ok"], true) << document.dump();
  EXPECT_EQ(host(".envrc"), "new\n");
}

TEST_F(Changes, conflictsAreRefused) {
  task();
  put("host/new", "mine\n");
  const auto document = json({"apply", "last"}, 1);
  EXPECT_EQ(document["refused"], true);
  EXPECT_EQ(document["counts"]["conflict"], 1);
  EXPECT_EQ(host("a"), "old\n");
  EXPECT_NE(text({"apply", "last"}, 1).find("the task made it, and the host has a file there"), std::string::npos);
  EXPECT_EQ(json({"apply", "last", "--skip-conflicts"}, 1)["counts"]["applied"], 3);
  EXPECT_EQ(host("new"), "mine\n");
  EXPECT_EQ(json({"apply", "last", "--force"})["ok"], true);
  EXPECT_EQ(host("new"), "new\n");
  EXPECT_EQ(json({"apply", "last", "--skip-conflicts", "--all-or-nothing"}, 2)["error"]["class"], "usage");
}

TEST_F(Changes, lastSaysWhichTaskAndTree) {
  task();
  const std::string line = "rauha: last: task_00000000000000000000, → " + root_ + "/host\n";
  using Words = std::vector<std::string>;
  for (const auto& words : {Words{"diff", "last"}, Words{"apply", "last", "--dry-run"}, Words{"diff", "last", "--patch"}})
    EXPECT_EQ(run(words).err.rfind(line, 0), 0u) << run(words).err;
  EXPECT_EQ(run({"diff", "task_0"}).err, "");
  EXPECT_EQ(run({"diff", "last", "--json"}).err, "");
}

TEST_F(Changes, lastIsNotAppliedFromWithinAnotherRepository) {
  task();
  fs::create_directories(root_ + "/mine/.git");
  fs::create_directories(root_ + "/mine/src");
  fs::current_path(root_ + "/mine/src");
  const auto refused = json({"apply", "last"}, 1);
  EXPECT_EQ(refused["error"]["code"], "conflict") << refused;
  EXPECT_EQ(host("a"), "old\n");
  EXPECT_EQ(run({"diff", "last"}).status, 0);
  EXPECT_EQ(run({"apply", "last", "--dry-run", "--tree", root_ + "/host"}).status, 0) << "named";
  EXPECT_EQ(run({"apply", "task_0"}).status, 0) << "named";
  EXPECT_EQ(host("a"), "new\n");
}

TEST_F(Changes, aClosedPipeIsNoFailure) {
  task();
  using Words = std::vector<std::string>;
  for (const auto& words : {Words{"diff", "task_0"}, Words{"task", "list"}, Words{"task", "list", "--json"}, Words{"apply", "task_0"}}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd output(ends[1]);
    close(ends[0]);
    auto closed = spec(words);
    closed.standardOutput = output.get();
    const auto finished = run(closed);
    EXPECT_EQ(finished.status, 141) << words[0];
    EXPECT_EQ(finished.err, "");
  }
  EXPECT_EQ(host("a"), "new\n") << "what was asked for was done";
}

TEST_F(Changes, pathsOutOfTheTreeAreTheDaemonsFault) {
  put("layer/x", "evil\n");
  put("fake-changes", "? x\n");
  EXPECT_EQ(json({"apply", "last"}, 1)["error"]["code"], "corrupt");
  EXPECT_EQ(json({"diff", "last"}, 1)["error"]["code"], "corrupt");
}

TEST_F(Changes, followUps) {
  task();
  const auto finished = run({"sandbox", "--json", "--image", "host", "--from", "last", "--", "exit", "0"});
  EXPECT_EQ(finished.status, 0) << finished.out;
  EXPECT_TRUE(daemonNoted(" repo=3:" + root_ + "/host from=task_00000000000000000000")) << calls();
  EXPECT_EQ(run({"sandbox", "--json", "--image", "host", "--from", "last", "--repo", root_ + "/host", "--", "exit", "0"}).status, 0);
  const auto other = run({"sandbox", "--json", "--image", "host", "--from", "last", "--repo", root_ + "/layer", "--", "exit", "0"});
  EXPECT_EQ(other.status, 125);
  EXPECT_EQ(other.json()["error"]["code"], "conflict") << other.out;
  EXPECT_EQ(run({"sandbox", "--json", "--image", "host", "--from", "task_1", "--", "exit", "0"}).json()["error"]["code"], "not_found");
}

TEST_F(Changes, tasks) {
  EXPECT_EQ(json({"task", "list", "--limit", "7"})["tasks"][0]["kept_bytes"], 4 << 20);
  EXPECT_TRUE(daemonNoted("listTasks limit=7"));
  const std::string table = text({"task", "list"});
  EXPECT_NE(table.find("make evil\\x1b"), std::string::npos) << table;
  EXPECT_EQ(json({"task", "list", "--limit", "-1"}, 2)["error"]["class"], "usage");
  EXPECT_EQ(json({"task", "show", "last"})["stdout"], "out");
  EXPECT_EQ(json({"task", "show", "task_1"}, 1)["error"]["code"], "not_found");
  EXPECT_NE(text({"task", "show", "last"}).find("output and evidence: rauha task show task_00000000000000000000 --json --root " + root_),
            std::string::npos);
  for (const char* word : {"last", "task_0"}) {
    EXPECT_EQ(json({"task", "delete", word})["deleted"], "task_00000000000000000000");
    EXPECT_EQ(text({"task", "delete", word}), "task task_00000000000000000000 is deleted\n");
  }
  EXPECT_EQ(json({"task", "prune", "--older-than", "7d", "--max-size", "1GiB", "--dry-run"})["freed_bytes"], 4 << 20);
  EXPECT_TRUE(daemonNoted("pruneTasks age=604800000 bytes=1073741824 dry"));
  for (const char* bad : {"7", "d", "-1d", "0d", "x7d"})
    EXPECT_EQ(json({"task", "prune", "--older-than", bad}, 2)["error"]["class"], "usage") << bad;
  EXPECT_EQ(json({"task", "prune", "--max-size", "much"}, 2)["error"]["class"], "usage");
}

}  // namespace
}  // namespace rauha::cli::testing
