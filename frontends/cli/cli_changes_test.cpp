// `rauha diff`, `apply` and `task`, the whole program against the fake daemon: text, JSON, errors, exit status.
#include <sys/stat.h>

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
  }
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
    words.push_back("--json");
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
  EXPECT_EQ(json({"task", "delete", "task_0"})["deleted"], "task_0");
  EXPECT_EQ(json({"task", "prune", "--older-than", "7d", "--max-size", "1GiB", "--dry-run"})["freed_bytes"], 4 << 20);
  EXPECT_TRUE(daemonNoted("pruneTasks age=604800000 bytes=1073741824 dry"));
  for (const char* bad : {"7", "d", "-1d", "0d", "x7d"})
    EXPECT_EQ(json({"task", "prune", "--older-than", bad}, 2)["error"]["class"], "usage") << bad;
  EXPECT_EQ(json({"task", "prune", "--max-size", "much"}, 2)["error"]["class"], "usage");
}

}  // namespace
}  // namespace rauha::cli::testing
