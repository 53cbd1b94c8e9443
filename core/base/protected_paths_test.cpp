#include "core/base/protected_paths.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace rauha {
namespace {

TEST(ProtectedPaths, GitsOwnFiles) {
  for (const auto path : {".git/hooks", ".git/hooks/pre-commit", "a/b/.git/hooks/x/y", ".git/modules/lib/hooks/post-checkout",
                          ".git/modules/deep/name/hooks/update", "server.git/hooks/update", ".GIT/Hooks/pre-commit", ".husky/pre-push"})
    EXPECT_EQ(protectedReason(path), "git hook") << path;
  for (const auto path : {".git", "sub/.git", ".git/config", ".git/config.worktree", ".git/worktrees/w/config.worktree", ".git/commondir",
                          ".git/worktrees/w/gitdir", ".git/modules/a/b/config", "bare.git/config", ".gitconfig"})
    EXPECT_EQ(protectedReason(path), "git configuration") << path;
  EXPECT_EQ(protectedReason(".git/info/attributes"), "git attributes");
  EXPECT_EQ(protectedReason("src/.gitattributes"), "git attributes");
  EXPECT_EQ(protectedReason(".gitmodules"), "git submodules");
  EXPECT_EQ(protectedReason(".git/rebase-merge/git-rebase-todo"), "git rebase script");
  EXPECT_EQ(protectedReason(".git/worktrees/w/rebase-merge/git-rebase-todo"), "git rebase script");
}

TEST(ProtectedPaths, GitsDataIsFree) {
  for (const auto path : {".git/index", ".git/HEAD", ".git/refs/heads/hooks", ".git/refs/heads/config", ".git/objects/ab/cdef",
                          ".git/logs/HEAD", ".git/info/exclude", ".git/modules", ".git/modules/lib/HEAD", "x.git", "gitx/hooks/y",
                          "hooks/pre-commit", "config", ".gitignore", ".gitx/config"})
    EXPECT_EQ(protectedReason(path), "") << path;
}

TEST(ProtectedPaths, Settings) {
  EXPECT_EQ(protectedReason(".vscode/tasks.json"), "editor settings");
  EXPECT_EQ(protectedReason("pkg/.vscode"), "editor settings");
  EXPECT_EQ(protectedReason(".idea/workspace.xml"), "editor settings");
  EXPECT_EQ(protectedReason("all.code-workspace"), "editor settings");
  EXPECT_EQ(protectedReason("a/.dir-locals.el"), "editor settings");
  EXPECT_EQ(protectedReason(".claude/settings.json"), "agent settings");
  EXPECT_EQ(protectedReason(".devcontainer/devcontainer.json"), "development container");
  EXPECT_EQ(protectedReason(".envrc"), "directory environment");
  EXPECT_EQ(protectedReason(".helix/languages.toml"), "editor settings");
  EXPECT_EQ(protectedReason("src/CLAUDE.md"), "agent settings");
  EXPECT_EQ(protectedReason(".gdbinit"), "debugger or interpreter start-up file");
  EXPECT_EQ(protectedReason("web/.yarnrc.yml"), "tool settings");
  EXPECT_EQ(protectedReason(".githooks/pre-commit"), "git hook");
  EXPECT_EQ(protectedReason("home/.bashrc"), "shell start-up file");
  for (const auto path : {".github/workflows/ci.yml", ".github/workflows", ".gitlab-ci.yml", ".circleci/config.yml", "Jenkinsfile",
                          "ci/jenkinsfile", ".travis.yml", ".forgejo/workflows/x", ".github/actions/own/action.yml"})
    EXPECT_EQ(protectedReason(path), "continuous integration") << path;
  for (const auto path : {".github/CODEOWNERS", "workflows/ci.yml", "src/main.c", "", "vscode/x", ".vscodex", "-rf", "a\nb", "\xFF\xFE"})
    EXPECT_EQ(protectedReason(path), "") << path;
}

TEST(ProtectedPaths, WhatGitGoesOnWith) {
  for (const auto path : {".git/sequencer/todo", ".git/worktrees/w/sequencer/todo", "x.git/rebase-apply/next"})
    EXPECT_EQ(protectedReason(path), "git rebase script") << path;
  for (const auto path : {".git/CHERRY_PICK_HEAD", ".git/MERGE_HEAD", ".git/worktrees/w/REVERT_HEAD"})
    EXPECT_EQ(protectedReason(path), "git operation under way") << path;
  for (const auto path : {".git/refs/replace/0123", ".git/info/grafts"}) EXPECT_EQ(protectedReason(path), "git object replacement") << path;
  for (const auto path : {".git/refs/heads/replace", ".git/refs/heads/MERGE_HEAD", ".git/ORIG_HEAD"})
    EXPECT_EQ(protectedReason(path), "") << path;
}

TEST(ProtectedPaths, MoreTools) {
  for (const auto path : {"lefthook.yaml",
                          "lefthook-local.yml",
                          ".perldb",
                          "mise.local.toml",
                          ".mise/config.toml",
                          ".hg/hgrc",
                          ".jj/repo/config.toml",
                          ".Rprofile",
                          ".ghci",
                          ".iex.exs",
                          ".ocamlinit",
                          ".octaverc",
                          ".gvimrc",
                          "_vimrc",
                          ".pylintrc",
                          ".pnpmfile.cjs",
                          ".yarn/plugins/x.cjs",
                          "sub/.mvn/extensions.xml",
                          ".roo/rules",
                          ".kiro/hooks/x",
                          "CLAUDE.local.md",
                          ".build.yml",
                          ".tekton/push.yaml"})
    EXPECT_NE(protectedReason(path), "") << path;
  for (const auto path : {"repo/config.toml", "x.jj/repo/config.toml", ".hg/store", ".yarn/cache/x", ".jj/repo/store/x", "plugins/x"})
    EXPECT_EQ(protectedReason(path), "") << path;
}

TEST(ProtectedPaths, WhatStandsAboveOne) {
  const std::vector<std::string> patterns{"tools/build/run", "*.mk"};
  for (const auto path :
       {".github", "sub/.github", ".jj", ".jj/repo", ".git/info", ".git/x", "a/.git/modules/b", "x.git/hooks2", "tools", "tools/build"})
    EXPECT_NE(ancestorReason(path, patterns), "") << path;
  for (const auto path : {"github", ".github/x", "repo", "tools/run", "tools/build/run", "x", "x.git", "src/tools"})
    EXPECT_EQ(ancestorReason(path, patterns), "") << path;
}

TEST(ProtectedPaths, LinksOutOfTheTree) {
  for (const auto& [path, target] : std::vector<std::pair<const char*, const char*>>{{"out.log", "/root/.bashrc"},
                                                                                     {"cron", "../etc/cron.d"},
                                                                                     {"a/b", "../../x"},
                                                                                     {"a/b", "c/../../../x"},
                                                                                     {"a/b", "c/.."},
                                                                                     {"x", ".."}})
    EXPECT_TRUE(linkLeavesTree(path, target)) << path << " -> " << target;
  for (const auto& [path, target] : std::vector<std::pair<const char*, const char*>>{
           {"a", "b"}, {"a/b", "../c"}, {"a/b", ".."}, {"a/b/c", "../../d/e"}, {"a", "./b//c"}, {"a", ""}, {"a", "...x"}})
    EXPECT_FALSE(linkLeavesTree(path, target)) << path << " -> " << target;
}

TEST(ProtectedPaths, ConfiguredPatterns) {
  const std::vector<std::string> patterns{"Makefile", "*.mk", "tools/build", "conf/?.in"};
  for (const auto path : {"Makefile", "sub/Makefile", "rules.mk", "a/b.mk", "tools/build", "tools/build/run", "conf/a.in", "x.mk/inside"})
    EXPECT_EQ(protectedReason(path, patterns), "build file") << path;
  for (const auto path : {"makefile", "Makefile.am", "x/tools/build", "tools", "conf/ab.in", "mk", ""})
    EXPECT_EQ(protectedReason(path, patterns), "") << path;
  EXPECT_EQ(protectedReason(".git/config", patterns), "git configuration");
  EXPECT_EQ(protectedReason("Makefile"), "");
}

TEST(ProtectedPaths, GlobsTakeNoExponentialTime) {
  const std::vector<std::string> patterns{std::string("*a*a*a*a*a*a*a*a*a*a*a*a*a*b")};
  EXPECT_EQ(protectedReason(std::string(255, 'a'), patterns), "");
  EXPECT_EQ(protectedReason(std::string(254, 'a') + "b", patterns), "build file");
}

TEST(ProtectedPaths, Patterns) {
  for (const auto good : {"Makefile", "*.mk", "a/b", ".x"}) EXPECT_TRUE(isProtectedPattern(good)) << good;
  for (const auto bad : {"", "/", "/a", "a/", "a//b", "..", "a/../b", "./a"}) EXPECT_FALSE(isProtectedPattern(bad)) << bad;
  EXPECT_FALSE(isProtectedPattern(std::string(256, 'a')));
  EXPECT_FALSE(isProtectedPattern(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace rauha
