#include "core/changes/git_directories.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "core/changes/testing/overlay_fixture.h"

namespace rauha::changes {
namespace {

using testing::makeDirectories;
using testing::openTop;
using testing::OverlayTest;
using testing::write;

class GitDirectories : public OverlayTest {
 protected:
  void add(const std::string& path, FileType type = FileType::regular) { put(path, type, Kind::added); }
  void put(const std::string& path, FileType type, Kind kind) {
    Change change;
    change.path = path;
    change.kind = kind;
    (kind == Kind::deleted ? change.before : change.after).type = type;
    changes_.push_back(change);
  }
  std::map<std::string, std::string> found() {
    std::map<std::string, std::string> out;
    for (const auto& [index, reason] : gitDirectoryChanges(changes_, openTop(base_).get(), openTop(base_).get()))
      out[changes_[index].path] = reason;
    return out;
  }
  std::string hooksPath(const std::string& config) {
    makeDirectories(base_ + "/.git");
    write(base_ + "/.git/config", config);
    return hooks();
  }
  // But for git's own directory of them.
  std::string hooks() {
    std::string out;
    for (const auto& path : hookPathsOf(openTop(base_).get()))
      if (path != ".git/hooks") out += (out.empty() ? "" : " ") + path;
    return out;
  }
  std::vector<Change> changes_;
};

TEST_F(GitDirectories, OneThatTheTaskMade) {
  add("docs", FileType::directory);
  add("docs/HEAD");
  add("docs/config");
  add("docs/hooks/post-checkout");
  add("docs/info/attributes");
  add("docs/objects", FileType::directory);
  add("docs/refs", FileType::directory);
  add("docs/readme");
  add("docs/sub/config");
  EXPECT_EQ(found(), (std::map<std::string, std::string>{{"docs/HEAD", "git repository"},
                                                         {"docs/config", "git configuration"},
                                                         {"docs/hooks/post-checkout", "git hook"},
                                                         {"docs/info/attributes", "git attributes"},
                                                         {"docs/objects", "git repository"},
                                                         {"docs/refs", "git repository"}}));
}

TEST_F(GitDirectories, TheTopItselfAndOneWithACommonDirectory) {
  add("HEAD");
  add("commondir");
  add("config");
  EXPECT_EQ(found().size(), 3u);
}

TEST_F(GitDirectories, OneThatTheHostHasOrThatIsCompletedByTheTask) {
  for (const auto name : {"fixture/objects", "fixture/refs", "half/objects"}) makeDirectories(base_ + "/" + name);
  write(base_ + "/fixture/HEAD", "ref: refs/heads/main\n");
  put("fixture/config", FileType::regular, Kind::modified);
  add("half/HEAD");
  add("half/refs", FileType::directory);
  EXPECT_EQ(found(), (std::map<std::string, std::string>{
                         {"fixture/config", "git configuration"}, {"half/HEAD", "git repository"}, {"half/refs", "git repository"}}));
}

TEST_F(GitDirectories, WhatIsNone) {
  add("app/config");
  add("app/hooks/use_state.js");
  add("app/HEAD");  // no objects, no refs
  makeDirectories(base_ + "/was/objects");
  makeDirectories(base_ + "/was/refs");
  write(base_ + "/was/HEAD", "x");
  put("was/HEAD", FileType::regular, Kind::deleted);
  add("was/config");
  // Known by their names.
  for (const auto name : {".git/modules/lib/HEAD", ".git/modules/lib/objects", ".git/modules/lib/refs"}) add(name);
  EXPECT_TRUE(found().empty());
}

TEST_F(GitDirectories, ALinkOfTheHostIsNotFollowed) {
  makeDirectories(top_ + "/outside/objects");
  makeDirectories(top_ + "/outside/refs");
  write(top_ + "/outside/HEAD", "x");
  ASSERT_EQ(symlink((top_ + "/outside").c_str(), (base_ + "/link").c_str()), 0);
  put("link/config", FileType::regular, Kind::modified);
  EXPECT_TRUE(found().empty());
}

TEST_F(GitDirectories, OneBelowAName) {
  for (const auto name : {"HEAD", "objects", "refs", "config"}) add(std::string("docs.git/r/") + name);
  add("docs.git/HEAD");
  EXPECT_EQ(found(), (std::map<std::string, std::string>{{"docs.git/r/HEAD", "git repository"},
                                                         {"docs.git/r/config", "git configuration"},
                                                         {"docs.git/r/objects", "git repository"},
                                                         {"docs.git/r/refs", "git repository"}}));
}

TEST_F(GitDirectories, WhatIsUnderWayInOneOfAnyName) {
  for (const auto name : {".bare/objects", ".bare/refs", ".bare/rebase-merge"}) makeDirectories(base_ + "/" + name);
  write(base_ + "/.bare/HEAD", "ref: refs/heads/main\n");
  for (const auto name : {".bare/rebase-merge/git-rebase-todo", ".bare/sequencer/todo", ".bare/CHERRY_PICK_HEAD",
                          ".bare/worktrees/w/config.worktree", ".bare/modules/x/hooks/update", ".bare/refs/heads/topic"})
    add(name);
  const auto all = found();
  EXPECT_EQ(all.size(), 5u);
  EXPECT_FALSE(all.contains(".bare/refs/heads/topic"));
}

TEST_F(GitDirectories, HooksThatAreLinks) {
  for (const auto name : {".git/hooks", "scripts", "tools/real"}) makeDirectories(base_ + "/" + name);
  const auto link = [&](const std::string& target, const std::string& path) {
    ASSERT_EQ(symlink(target.c_str(), (base_ + "/" + path).c_str()), 0);
  };
  link("../../scripts/pre-commit.sh", ".git/hooks/pre-commit");
  link("../../alias/push", ".git/hooks/pre-push");
  link("tools/real", "alias");
  link("/etc/passwd", ".git/hooks/post-merge");
  link("../../../outside", ".git/hooks/update");
  link("post-rewrite", ".git/hooks/post-rewrite");
  EXPECT_EQ(hooks(),
            ".git/hooks/post-merge .git/hooks/post-rewrite .git/hooks/pre-commit .git/hooks/pre-push .git/hooks/update alias "
            "scripts/pre-commit.sh tools/real/push");
}

TEST_F(GitDirectories, HooksOfARepositoryThatAFileNames) {
  makeDirectories(base_ + "/.bare/worktrees/w");
  write(base_ + "/.git", "gitdir: ./.bare/worktrees/w\n");
  write(base_ + "/.bare/worktrees/w/commondir", "../..\n");
  write(base_ + "/.bare/config", "[core]\n\thooksPath = ours\n");
  EXPECT_EQ(hooks(), ".bare/hooks ours");
}

TEST_F(GitDirectories, HooksPath) {
  EXPECT_EQ(hooksPath("[core]\n\thooksPath = .githooks\n"), ".githooks");
  EXPECT_EQ(hooksPath("[Core]\n\tHOOKSPATH=\"./tools//hooks/\" ; ours\n"), "tools/hooks");
  EXPECT_EQ(hooksPath("[core] hooksPath = a\n[user]\n\tname = b\n[core]\n\thooksPath = c\n"), "c");
  EXPECT_EQ(hooksPath("[user]\n\thooksPath = x\n"), "");
  EXPECT_EQ(hooksPath("[core]\n\thooksPath = /etc/hooks\n"), "");
  EXPECT_EQ(hooksPath("[core]\n\thooksPath = ../x\n"), "");
  EXPECT_EQ(hooksPath("[core\n= ] \xff\n]["), "");
  EXPECT_EQ(hooksPath(""), "");
}

}  // namespace
}  // namespace rauha::changes
