// What apply makes of a change set: the task's tree, or a conflict, and nothing outside of the tree.
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include "core/base/error.h"
#include "core/base/git_index.h"
#include "core/base/testing/git_index_bytes.h"
#include "frontends/cli/changes/apply_lock.h"
#include "frontends/cli/changes/apply_report.h"
#include "frontends/cli/changes/testing/trees.h"

namespace rauha::cli::testing {
namespace {

namespace fs = std::filesystem;

ApplyOptions with(bool ApplyOptions::*option) {
  ApplyOptions options;
  options.*option = true;
  return options;
}
ApplyOptions owner(bool allOrNothing = false) {
  ApplyOptions options;
  options.owner = true;
  options.includeProtected = true;
  options.allOrNothing = allOrNothing;
  return options;
}

class Apply : public Trees {
 protected:
  // A small repository, as the task found it.
  void repository() const {
    put("host", "README", "hello\n");
    put("host", "run.sh", "#!/bin/sh\n", 0755);
    put("host", "src/a.c", "int a;\n");
    put("host", "src/b.c", "int b;\n");
    put("host", "old/x", "x\n");
    put("host", "old/deep/y", "y\n");
    link("host", "link", "README");
    begin();
  }
};

TEST_F(Apply, everyKindOfChange) {
  for (const bool allOrNothing : {false, true}) {
    fs::remove_all(top_ + "/host");
    repository();
    put("task", "README", "changed\n");
    chmod(at("task", "run.sh").c_str(), 0700);
    put("task", "new/deep/file", "new\n", 0600);
    directory("task", "new/empty", 0711);
    fs::remove_all(at("task", "old"));
    fs::remove(at("task", "link"));
    link("task", "link", "src/a.c");
    fs::remove(at("task", "src/a.c"));
    put("task", "src/a.c/now/a/directory", "d\n");
    fs::remove(at("task", "src/b.c"));
    link("task", "src/b.c", "/etc/passwd");
    directory("task", "closed", 0555);
    apply(owner(allOrNothing));
    expectSame();
    EXPECT_TRUE(report_.notes.empty());
  }
}

TEST_F(Apply, directoryBecomesFileAndBack) {
  put("host", "d/in/x", "x\n");
  put("host", "f", "f\n");
  begin();
  fs::remove_all(at("task", "d"));
  put("task", "d", "a file now\n");
  fs::remove(at("task", "f"));
  put("task", "f/x", "in a directory now\n");
  apply(owner());
  expectSame();
}

TEST_F(Apply, againIsNothing) {
  repository();
  put("task", "README", "changed\n");
  put("task", "new/file", "new\n");
  fs::remove(at("task", "old/x"));
  const ChangeSet set = changes();
  apply(set, owner());
  const auto items = apply(set, owner());
  EXPECT_EQ(countOf(items, Verdict::already), items.size());
  expectSame();
}

TEST_F(Apply, randomTasksAreReproduced) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    fs::remove_all(top_ + "/host");
    fs::create_directory(top_ + "/host");
    scribble(top_ + "/host", random, 40);
    begin();
    scribble(top_ + "/task", random, 25);
    const auto items = apply(owner(seed % 2 == 0));
    for (const auto& item : items)
      EXPECT_TRUE(item.verdict == Verdict::apply || item.verdict == Verdict::already) << seed << item.change->path << item.reason;
    expectSame();
    if (HasFailure()) return;
  }
}

TEST_F(Apply, renamed) {
  repository();
  ChangeSet set = changes();
  Change change;
  change.kind = ChangeKind::renamed;
  change.from = "src/a.c";
  change.path = "src/z.c";
  fs::rename(at("task", "src/a.c"), at("task", "src/z.c"));
  for (const auto& other : changes().changes) {
    if (other.path == change.from) change.before = other.before;
    if (other.path == change.path) change.after = other.after;
  }
  set.changes = {change};
  apply(set);
  EXPECT_FALSE(exists("host", "src/a.c"));
  EXPECT_EQ(content("host", "src/z.c"), "int a;\n");
}

// The renamed file's old directory goes, or becomes a file: it must be empty by then, and the file nowhere lost.
TEST_F(Apply, renamedOutOfADirectoryThatGoes) {
  for (const bool becomesFile : {false, true}) {
    for (const bool allOrNothing : {false, true}) {
      fs::remove_all(top_ + "/host");
      put("host", "src/a.c", "int a;\n");
      begin();
      fs::create_directory(at("task", "z"));
      fs::rename(at("task", "src/a.c"), at("task", "z/a.c"));
      fs::remove(at("task", "src"));
      if (becomesFile) put("task", "src", "a file\n");
      ChangeSet set = changes();
      std::vector<Change> kept;
      for (auto& change : set.changes)
        if (change.path != "src/a.c") kept.push_back(change);
      for (auto& change : kept) {
        if (change.path != "z/a.c") continue;
        change.kind = ChangeKind::renamed;
        change.from = "src/a.c";
        for (const auto& other : set.changes)
          if (other.path == "src/a.c") change.before = other.before;
      }
      set.changes = kept;
      apply(set, owner(allOrNothing));
      expectSame();
    }
  }
}

TEST_F(Apply, dryRunWritesNothing) {
  repository();
  put("task", "README", "changed\n");
  put("task", "new", "n\n");
  const auto before = listing(top_ + "/host", true);
  const auto items = apply(with(&ApplyOptions::dryRun));
  EXPECT_EQ(countOf(items, Verdict::apply), items.size());
  EXPECT_EQ(listing(top_ + "/host", true), before);
}

TEST_F(Apply, hostsFileChanged) {
  repository();
  put("task", "README", "the task's\n");
  put("task", "new", "the task's\n");
  put("task", "src/b.c", "the task's\n");
  fs::remove(at("task", "old/x"));
  const ChangeSet set = changes();
  put("host", "README", "the user's\n");
  put("host", "new", "the user's\n");
  put("host", "old/x", "the user's\n");
  const auto before = listing(top_ + "/host", true);
  auto items = apply(set);
  EXPECT_EQ(countOf(items, Verdict::conflict), 3u);
  EXPECT_TRUE(itemOf(items, "README").forceable);
  EXPECT_EQ(listing(top_ + "/host", true), before) << "with a conflict nothing is applied";

  items = apply(set, with(&ApplyOptions::skipConflicts));
  EXPECT_EQ(content("host", "README"), "the user's\n");
  EXPECT_EQ(content("host", "src/b.c"), "the task's\n");

  items = apply(set, with(&ApplyOptions::force));
  EXPECT_EQ(countOf(items, Verdict::conflict), 0u);
  EXPECT_EQ(content("host", "README"), "the task's\n");
  EXPECT_EQ(content("host", "new"), "the task's\n");
  EXPECT_FALSE(exists("host", "old/x"));
}

// Both looked with `git status`: nobody's work is lost, and it must not keep the rest from being applied.
TEST_F(Apply, anIndexThatBothRefreshedIsLeftOut) {
  for (const bool committed : {false, true}) {
    fs::remove_all(top_ + "/host");
    put("host", "README", "hello\n");
    put("host", ".git/index", "as it was\n");
    put("host", ".git/HEAD", "ref: refs/heads/main\n");
    begin();
    put("task", "README", "changed\n");
    put("task", ".git/index", "refreshed by the task\n");
    if (committed) put("task", ".git/refs/heads/main", "0123\n");
    ChangeSet set = changes();
    for (auto& change : set.changes)
      if (change.path == ".git/index") change.noise = ".git/index";
    put("host", ".git/index", "refreshed by the user\n");
    const auto items = apply(set);
    EXPECT_EQ(itemOf(items, ".git/index").verdict, committed ? Verdict::conflict : Verdict::skipped);
    EXPECT_EQ(content("host", ".git/index"), "refreshed by the user\n");
    EXPECT_EQ(content("host", "README"), committed ? "hello\n" : "changed\n");
  }
}

// The task staged and committed; the host only looked, before, while or after: the task's index is taken.
TEST_F(Apply, anIndexThatTheHostOnlyRefreshedIsTheTasks) {
  rauha::testing::Index found, staged;
  found.entries = {{"README"}};
  staged.entries = {{"README", 'n'}, {"new"}};
  const auto looked = [](rauha::testing::Index index) { return index.entries[0].looked = 9, index.bytes(); };
  for (const bool meanwhile : {false, true}) {
    fs::remove_all(top_ + "/host");
    put("host", ".git/index", found.bytes());
    put("host", ".git/HEAD", "ref: refs/heads/main\n");
    begin();
    put("task", ".git/index", staged.bytes());
    put("task", ".git/refs/heads/main", "0123\n");
    ChangeSet set = changes();
    const auto index = std::find_if(set.changes.begin(), set.changes.end(), [](const Change& c) { return c.path == ".git/index"; });
    index->before.entries = gitIndexEntries(found.bytes());
    index->after.entries = gitIndexEntries(staged.bytes());
    index->hostChanged = meanwhile;
    put("host", ".git/index", looked(found));
    apply(set);
    EXPECT_EQ(content("host", ".git/index"), staged.bytes());
    EXPECT_EQ(content("host", ".git/refs/heads/main"), "0123\n");
    // Again, after another look: yours stays.
    put("host", ".git/index", looked(staged));
    auto items = apply(set);
    EXPECT_EQ(countOf(items, Verdict::already), items.size());
    EXPECT_EQ(content("host", ".git/index"), looked(staged));
    // What the user staged is not thrown away.
    found.entries[0].object = 'u';
    put("host", ".git/index", found.bytes());
    items = apply(set);
    EXPECT_EQ(itemOf(items, ".git/index").verdict, Verdict::conflict);
    EXPECT_TRUE(itemOf(items, ".git/index").forceable);
    found.entries[0].object = 'o';
  }
}

// What the list says about --force is what --force does: for a link, a file, and everything that the task has below.
TEST_F(Apply, forceDoesWhatTheConflictsSay) {
  put("host", "target/f", "host\n");
  begin();
  put("task", "sub/f", "task\n");
  put("task", "deep/er/x", "task\n");
  const ChangeSet set = changes();
  link("host", "sub", "target");
  put("host", "deep", "host\n");
  auto items = apply(set);
  for (const char* path : {"sub", "sub/f", "deep", "deep/er", "deep/er/x"}) {
    EXPECT_EQ(itemOf(items, path).verdict, Verdict::conflict) << path;
    EXPECT_TRUE(itemOf(items, path).forceable) << path;
  }
  ApplySummary summary{"task_x", "/r", false, true, false, &items, {}};
  EXPECT_EQ(applyText(summary).find("not even with --force"), std::string::npos) << applyText(summary);
  EXPECT_NE(applyText(summary).find("  try: --skip-conflicts applies the rest, --force replaces yours\n"), std::string::npos);
  items = apply(set, with(&ApplyOptions::force));
  EXPECT_EQ(countOf(items, Verdict::apply), items.size());
  EXPECT_EQ(content("host", "sub/f"), "task\n");
  EXPECT_EQ(content("host", "deep/er/x"), "task\n");
  EXPECT_FALSE(fs::is_symlink(at("host", "sub")));
  EXPECT_EQ(content("host", "target/f"), "host\n") << "the link was replaced, not followed";
}

// A directory that the task only went into, and that is another thing now: nothing of it can be forced, and the list says so.
TEST_F(Apply, forceDoesNotBringADirectoryBack) {
  put("host", "d/f", "host\n");
  put("host", "target/f", "host\n");
  begin();
  put("task", "d/f", "task\n");
  ASSERT_EQ(chmod(at("task", "d").c_str(), 0700), 0);
  const ChangeSet set = changes();
  fs::remove_all(at("host", "d"));
  link("host", "d", "target");
  for (const bool force : {false, true}) {
    ApplyOptions options;
    options.force = force;
    const auto items = apply(set, options);
    for (const char* path : {"d", "d/f"}) {
      EXPECT_EQ(itemOf(items, path).verdict, Verdict::conflict) << path;
      EXPECT_FALSE(itemOf(items, path).forceable) << path;
    }
    ApplySummary summary{"task_x", "/r", false, true, false, &items, {}};
    EXPECT_NE(applyText(summary).find("  try: --skip-conflicts applies the rest\n"), std::string::npos) << applyText(summary);
  }
  EXPECT_EQ(content("host", "target/f"), "host\n");
}

TEST_F(Apply, linksOutOfTheTreeAreProtected) {
  repository();
  link("task", "out.log", "/root/.bashrc");
  link("task", "src/up", "../../x");
  link("task", "src/in", "../README");
  auto items = apply();
  EXPECT_EQ(itemOf(items, "out.log").verdict, Verdict::protection);
  EXPECT_EQ(itemOf(items, "out.log").protection, "link out of the tree");
  EXPECT_EQ(itemOf(items, "src/up").verdict, Verdict::protection);
  EXPECT_FALSE(fs::is_symlink(at("host", "out.log")));
  EXPECT_TRUE(fs::is_symlink(at("host", "src/in")));
  items = apply(with(&ApplyOptions::includeProtected));
  EXPECT_TRUE(fs::is_symlink(at("host", "out.log")));
}

TEST_F(Apply, aTimeAloneRunsNothing) {
  put("host", ".git/HEAD", "x\n");
  begin();
  put("task", ".git/new", "x\n");
  for (const auto& item : apply()) EXPECT_EQ(item.protection, "") << item.change->path;
}

// The change set was made when the task had ended: what the host's file was before that, it does not know.
TEST_F(Apply, whatChangedWhileTheTaskRanIsAConflict) {
  repository();
  put("task", "README", "task\n");
  chmod(at("task", "run.sh").c_str(), 0700);
  fs::remove(at("task", "src/a.c"));
  fs::last_write_time(at("task", "src/b.c"), fs::file_time_type::clock::now());
  put("task", "new", "x\n");
  ChangeSet set = changes();
  auto items = apply(set, with(&ApplyOptions::dryRun));
  EXPECT_EQ(countOf(items, Verdict::conflict), 0u) << "control";
  for (auto& change : set.changes) change.hostChanged = change.path != "new";
  ApplyOptions dry = with(&ApplyOptions::skipConflicts);
  items = apply(set, dry);
  for (const char* path : {"README", "run.sh", "src/a.c"}) {
    EXPECT_EQ(itemOf(items, path).verdict, Verdict::conflict) << path;
    EXPECT_TRUE(itemOf(items, path).forceable) << path;
  }
  EXPECT_EQ(itemOf(items, "src/b.c").verdict, Verdict::skipped) << "nothing but a time";
  EXPECT_EQ(content("host", "README"), "hello\n");
  EXPECT_EQ(content("host", "new"), "x\n");
  apply(set, with(&ApplyOptions::force));
  EXPECT_EQ(content("host", "README"), "task\n");
  EXPECT_FALSE(exists("host", "src/a.c"));
  EXPECT_EQ(countOf(apply(set), Verdict::conflict), 0u) << "there already";
}

// A file in it was replaced, and its own mode changed: its time is what it was, as the task left it.
TEST_F(Apply, aDirectoryOfAnotherModeKeepsItsTime) {
  repository();
  put("task", "src/a.c", "int changed;\n");
  chmod(at("task", "src").c_str(), 0700);
  const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000, 5}};
  for (const char* side : {"host", "task"}) ASSERT_EQ(utimensat(AT_FDCWD, at(side, "src").c_str(), times, 0), 0);
  apply(owner());
  EXPECT_EQ(listing(top_ + "/host", true), listing(top_ + "/task", true));
}

TEST_F(Apply, sameContentTwiceIsNoConflict) {
  repository();
  put("task", "README", "both\n");
  const ChangeSet set = changes();
  put("host", "README", "both\n");
  EXPECT_EQ(countOf(apply(set), Verdict::conflict), 0u);
}

TEST_F(Apply, touchedButEqualIsNoConflict) {
  repository();
  put("task", "README", "the task's\n");
  const ChangeSet set = changes();
  put("host", "README", "hello\n");  // written again: other change time, same bytes
  EXPECT_EQ(countOf(apply(set), Verdict::conflict), 0u);
  EXPECT_EQ(content("host", "README"), "the task's\n");
}

TEST_F(Apply, directoryWithTheUsersFilesStays) {
  repository();
  fs::remove_all(at("task", "old"));
  const ChangeSet set = changes();
  put("host", "old/mine", "mine\n");
  const auto items = apply(set, with(&ApplyOptions::skipConflicts));
  EXPECT_EQ(itemOf(items, "old").verdict, Verdict::conflict);
  EXPECT_EQ(content("host", "old/mine"), "mine\n");
  EXPECT_FALSE(exists("host", "old/x"));
  EXPECT_EQ(countOf(apply(set, with(&ApplyOptions::force)), Verdict::conflict), 1u) << "not even with force";
}

TEST_F(Apply, chosenPathsOnly) {
  repository();
  put("task", "README", "changed\n");
  put("task", "new/dir/file", "new\n");
  put("task", "new/other", "new\n");
  ApplyOptions options;
  options.paths = {"new/dir"};
  apply(options);
  EXPECT_EQ(content("host", "README"), "hello\n");
  EXPECT_EQ(content("host", "new/dir/file"), "new\n") << "the directories on the way are made";
  EXPECT_FALSE(exists("host", "new/other"));
  options.paths = {"nothing/here"};
  EXPECT_THROW(apply(options), Error);
}

TEST(ApplyPaths, asTheUserWritesThem) {
  EXPECT_EQ(treePath("./src//a/", "/r"), "src/a");
  EXPECT_EQ(treePath("/r/src", "/r"), "src");
  EXPECT_EQ(treePath(".", "/r"), "");
  EXPECT_THROW(treePath("../x", "/r"), Error);
  EXPECT_THROW(treePath("/rx", "/r"), Error);
  EXPECT_TRUE(isTreePath("a/b c/\n"));
  for (const std::string& bad : std::vector<std::string>{"", "/a", "a/", "a//b", ".", "a/../b", "./a", std::string(256, 'x')})
    EXPECT_FALSE(isTreePath(bad)) << bad;
  EXPECT_FALSE(isTreePath(std::string("a\0b", 3)));
}

TEST_F(Apply, whatRunsCodeNeedsAWord) {
  put("host", ".git/config", "[core]\n");
  put("host", "README", "hello\n");
  begin();
  put("task", ".git/hooks/pre-commit", "#!/bin/sh\nevil\n", 0755);
  put("task", ".git/config", "[core]\n\tfsmonitor = evil\n");
  put("task", ".github/workflows/x.yml", "evil\n");
  put("task", ".vscode/tasks.json", "evil\n");
  put("task", ".envrc", "evil\n");
  put("task", ".gitmodules", "evil\n");
  put("task", "bin/setuid", "evil\n", 04755);
  put("task", "README", "fine\n");
  const ChangeSet set = changes();
  const auto items = apply(set);
  EXPECT_EQ(content("host", "README"), "fine\n");
  for (const char* path :
       {".git/hooks/pre-commit", ".github/workflows/x.yml", ".vscode/tasks.json", ".envrc", ".gitmodules", "bin/setuid"}) {
    EXPECT_FALSE(exists("host", path)) << path;
    EXPECT_EQ(itemOf(items, path).verdict, Verdict::protection) << path;
  }
  EXPECT_EQ(content("host", ".git/config"), "[core]\n");
  ApplySummary summary{"task_x", "/r", false, false, false, &items, {}};
  EXPECT_TRUE(succeeded(summary));
  EXPECT_LT(applyText(summary).find(".envrc"), applyText(summary).find("README")) << "shown first";
  apply(set, owner());
  expectSame();
}

// Python runs a compiled file at the next import, and nobody reviews one.
TEST_F(Apply, cachesAreLeftOutUnlessNamed) {
  const auto plant = [&] {
    for (const char* side : {"host", "task"}) fs::remove_all(top_ + "/" + side);
    put("host", "src/a.py", "a\n");
    put("host", "src/__pycache__/a.pyc", "old\n");
    put("host", "gone/__pycache__/g.pyc", "g\n");
    put("host", "gone/g.py", "g\n");
    begin();
    put("task", "src/__pycache__/a.pyc", "evil\n");
    put("task", "src/planted.PYC", "evil\n");
    put("task", "web/node_modules/.cache/x.js", "evil\n");
    put("task", "web/index.js", "fine\n");
    fs::remove_all(at("task", "gone"));
  };
  plant();
  auto items = apply();
  EXPECT_EQ(content("host", "src/__pycache__/a.pyc"), "old\n");
  EXPECT_FALSE(exists("host", "src/planted.PYC"));
  EXPECT_FALSE(exists("host", "web/node_modules/.cache"));
  EXPECT_EQ(content("host", "web/index.js"), "fine\n");
  EXPECT_FALSE(exists("host", "gone")) << "what was removed from a cache goes, and its directory with it";
  EXPECT_EQ(itemOf(items, "src/__pycache__/a.pyc").verdict, Verdict::cache);
  ApplySummary summary;
  summary.items = &items;
  EXPECT_TRUE(succeeded(summary));
  EXPECT_NE(applyText(summary).find("\n  __pycache__: 1 change\n"), std::string::npos) << applyText(summary);

  plant();
  ApplyOptions named;
  named.paths = {"web/node_modules/.cache", "src"};
  apply(named);
  EXPECT_EQ(content("host", "web/node_modules/.cache/x.js"), "evil\n");
  EXPECT_EQ(content("host", "src/__pycache__/a.pyc"), "old\n") << "naming what is above does not name the cache";

  plant();
  apply(with(&ApplyOptions::includeProtected));
  expectSame();
}

// The host's own caches go along with a directory that is moved: their old place must be empty, the new one is made again by the tool.
TEST_F(Apply, aMovedDirectoryLeavesItsCachesBehind) {
  for (const bool allOrNothing : {false, true}) {
    for (const char* side : {"host", "task"}) fs::remove_all(top_ + "/" + side);
    put("host", "src/a.py", "a\n");
    put("host", "src/__pycache__/a.pyc", "compiled\n");
    put("host", "keep.py", "k\n");
    begin();
    fs::rename(at("task", "src"), at("task", "lib"));
    fs::rename(at("task", "keep.py"), at("task", "keep.pyc"));
    ChangeSet set = changes();
    const auto renamed = [&](const char* from, const char* to) {
      const auto isAt = [](const char* path) { return [path](const Change& c) { return c.path == path; }; };
      const auto source = std::find_if(set.changes.begin(), set.changes.end(), isAt(from));
      const FileState before = source->before;
      set.changes.erase(source);
      const auto target = std::find_if(set.changes.begin(), set.changes.end(), isAt(to));
      target->kind = ChangeKind::renamed;
      target->from = from;
      target->before = before;
    };
    renamed("src/__pycache__/a.pyc", "lib/__pycache__/a.pyc");
    renamed("keep.py", "keep.pyc");
    ApplyOptions options;
    options.allOrNothing = allOrNothing;
    apply(set, options);
    EXPECT_FALSE(exists("host", "src"));
    EXPECT_EQ(content("host", "lib/a.py"), "a\n");
    EXPECT_FALSE(exists("host", "lib/__pycache__"));
    EXPECT_EQ(content("host", "keep.py"), "k\n") << "work that was renamed into a cache is not lost";
    EXPECT_FALSE(exists("host", "keep.pyc"));
  }
}

// Else a task could refuse every apply by the name of one file.
TEST_F(Apply, aNameOfApplysOwnIsLeftOut) {
  begin();
  put("task", ".rauha-apply-x/a", "x\n");
  put("task", "fine", "fine\n");
  const auto items = apply();
  EXPECT_EQ(countOf(items, Verdict::conflict), 0U);
  EXPECT_EQ(content("host", "fine"), "fine\n");
  EXPECT_FALSE(exists("host", ".rauha-apply-x"));
}

TEST_F(Apply, pathsOutOfTheTreeAreRefused) {
  put("task", "x", "x\n");
  ChangeSet set = changes();
  for (const std::string path : {"../x", "a/../../x", "/etc/x", "", "a//b"}) {
    set.changes[0].path = path;
    EXPECT_EQ(countOf(apply(set), Verdict::conflict), 1u) << path;
  }
  set.changes[0].path = std::string(kWorkPrefix) + "x/journal";
  EXPECT_EQ(countOf(apply(set, with(&ApplyOptions::force)), Verdict::skipped), 1u);
}

TEST_F(Apply, neverThroughALink) {
  put("host", "d/file", "host\n");
  begin();
  put("task", "d/file", "task\n");
  put("task", "d/new", "task\n");
  const ChangeSet set = changes();
  fs::create_directory(top_ + "/outside");
  std::ofstream(top_ + "/outside/file") << "host\n";
  fs::remove_all(at("host", "d"));
  link("host", "d", "../outside");
  const auto items = apply(set, with(&ApplyOptions::force));
  EXPECT_GE(countOf(items, Verdict::conflict), 2u);
  for (const auto& item : items) EXPECT_FALSE(item.verdict == Verdict::conflict && item.forceable) << item.change->path;
  EXPECT_FALSE(fs::exists(top_ + "/outside/new"));
  ApplyOptions options = with(&ApplyOptions::force);
  options.skipConflicts = true;
  apply(set, options);
  EXPECT_FALSE(fs::exists(top_ + "/outside/new"));
  EXPECT_EQ(std::ifstream(top_ + "/outside/file").get(), 'h');
}

TEST_F(Apply, linkLoopsAndLinksAsFiles) {
  put("host", "plain", "x\n");
  begin();
  link("task", "loop", "loop");
  link("task", "a", "b");
  link("task", "b", "a");
  fs::remove(at("task", "plain"));
  link("task", "plain", "/etc/shadow");
  apply(owner());
  expectSame();
}

TEST_F(Apply, linkSwappedInWhileItWorks) {
  fs::create_directory(top_ + "/outside");
  for (int i = 0; i < 60; ++i) put("host", "d/f" + std::to_string(i), "old\n");
  begin();
  for (int i = 0; i < 60; ++i) put("task", "d/f" + std::to_string(i), "new\n"), put("task", "d/n" + std::to_string(i), "new\n");
  const ChangeSet set = changes();
  const pid_t swapper = fork();
  if (swapper == 0) {
    const std::string d = at("host", "d"), aside = at("host", "aside");
    for (;;) {
      rename(d.c_str(), aside.c_str());
      if (symlink("../outside", d.c_str()) == 0) unlink(d.c_str());
      rename(aside.c_str(), d.c_str());
    }
  }
  for (int round = 0; round < 20; ++round) {
    ApplyOptions options;
    options.skipConflicts = true;
    try {
      apply(set, options);
    } catch (const Error&) {
      // a path that vanished under our feet
    }
  }
  kill(swapper, SIGKILL);
  waitpid(swapper, nullptr, 0);
  EXPECT_TRUE(fs::is_empty(top_ + "/outside")) << "something was written through the link";
}

TEST_F(Apply, hardLinksOutOfTheTreeAreCut) {
  std::ofstream(top_ + "/outside") << "shared\n";
  chmod((top_ + "/outside").c_str(), 0644);
  fs::create_hard_link(top_ + "/outside", at("host", "content"));
  fs::create_hard_link(top_ + "/outside", at("host", "mode"));
  begin();
  fs::remove(at("task", "content"));
  put("task", "content", "task\n");
  fs::remove(at("task", "mode"));
  put("task", "mode", "shared\n", 0755);
  apply(owner());
  EXPECT_EQ(content("host", "content"), "task\n");
  EXPECT_EQ(content("host", "mode"), "shared\n");
  struct stat st {};
  ASSERT_EQ(stat(at("host", "mode").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777u, 0755u);
  ASSERT_EQ(stat((top_ + "/outside").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777u, 0644u) << "the file outside was changed through its second name";
  EXPECT_EQ(st.st_size, 7);
}

TEST_F(Apply, specialFilesStayWhereTheyAre) {
  ASSERT_EQ(mkfifo(at("host", "pipe").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo(at("task", "fifo").c_str(), 0600), 0);
  put("task", "f", "f\n");
  ChangeSet set = changes();
  const auto items = apply(set);
  EXPECT_EQ(itemOf(items, "fifo").verdict, Verdict::skipped);
  EXPECT_FALSE(exists("host", "fifo"));
  EXPECT_FALSE(exists("host", "pipe")) << "a task may delete one";
  // A named pipe where a file was: nobody waits for its writer.
  put("host", "g", "g\n");
  begin();
  put("task", "g", "task\n");
  set = changes();
  fs::remove(at("host", "g"));
  ASSERT_EQ(mkfifo(at("host", "g").c_str(), 0600), 0);
  EXPECT_EQ(itemOf(apply(set), "g").verdict, Verdict::conflict);
}

TEST_F(Apply, oddNames) {
  const std::vector<std::string> names = {"new\nline", "\xff\xfe", std::string(255, 'n'), "-rf", " ", "a\tb", "README",
                                          "readme",    "\x1b[2J"};
  for (const auto& name : names) put("host", "d/" + name, "old\n");
  begin();
  for (const auto& name : names) put("task", "d/" + name, "new\n"), put("task", "e" + name.substr(0, 100) + "/" + name, "new\n");
  const auto items = apply(owner());
  expectSame();
  const std::string json = applyJson({"task_x", "/r", false, false, false, &items, {}});
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_NE(json.find("path_bytes"), std::string::npos);
}

TEST_F(Apply, contentThatIsNotTheTasksIsNotPlaced) {
  repository();
  put("task", "README", "the task's\n");
  put("task", "other", "fine\n");
  const ChangeSet set = changes();
  put("task", "README", "forged\n\n\n\n");  // same size, other bytes
  auto items = apply(set);
  EXPECT_EQ(itemOf(items, "README").verdict, Verdict::failed);
  EXPECT_EQ(content("host", "README"), "hello\n");
  EXPECT_EQ(content("host", "other"), "fine\n");
  fs::remove(at("host", "other"));
  items = apply(set, with(&ApplyOptions::allOrNothing));
  EXPECT_FALSE(exists("host", "other"));
  EXPECT_TRUE(report_.undone);
  EXPECT_EQ(itemOf(items, "other").verdict, Verdict::undone);
}

TEST_F(Apply, allOrNothingTakesEverythingBack) {
  repository();
  put("task", "README", "changed\n");
  put("task", "a/new/file", "new\n");
  chmod(at("task", "run.sh").c_str(), 0700);
  fs::remove_all(at("task", "old"));
  fs::remove(at("task", "src/b.c"));
  put("task", "src/b.c/x", "dir\n");
  put("task", "zz/last", "new\n");
  const ChangeSet set = changes();
  const auto before = listing(top_ + "/host", true);
  const Tree tree(set.base.path);
  DirectorySource source(top_ + "/task");
  const auto options = with(&ApplyOptions::allOrNothing);
  auto items = planApply(set, tree, options);
  ASSERT_EQ(countOf(items, Verdict::apply), items.size());
  // After the decision, before the deed: somebody else makes what the last step wants to make.
  put("host", "zz/last", "the user's\n");
  const auto report = runApply(set, tree, source, options, items);
  EXPECT_TRUE(report.undone);
  EXPECT_TRUE(report.notes.empty());
  fs::remove_all(at("host", "zz"));
  EXPECT_EQ(listing(top_ + "/host", true), before);
}

TEST_F(Apply, sparseFilesStaySparse) {
  constexpr off_t kSize = 64 << 20;
  put("host", "x", "x\n");
  begin();
  const UniqueFd fd(open(at("task", "sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(ftruncate(fd.get(), kSize), 0);
  ASSERT_EQ(pwrite(fd.get(), "middle", 6, kSize / 2), 6);
  apply(owner());
  struct stat st {};
  ASSERT_EQ(stat(at("host", "sparse").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, kSize);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
  expectSame();
}

TEST_F(Apply, eightGiBOfNothing) {
  constexpr off_t kSize = off_t{8} << 30;
  put("task", "huge", "");
  ChangeSet set = changes();
  ASSERT_EQ(truncate(at("task", "huge").c_str(), kSize), 0);
  // Such a file has no digest in a change set: its holes are not read.
  set.changes[0].after.digest.clear();
  set.changes[0].after.size = static_cast<uint64_t>(kSize);
  apply(set, {});
  struct stat st {};
  ASSERT_EQ(stat(at("host", "huge").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, kSize);
  EXPECT_EQ(st.st_blocks, 0);
}

// As another user, in a child: what is checked is what the child could do.
int asUser(uid_t uid, const std::function<int()>& run) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(uid) != 0 || setuid(uid) != 0) _exit(99);
    int code = 98;
    try {
      code = run();
    } catch (const Error& error) {
      fprintf(stderr, "%s\n", error.text().c_str());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

TEST_F(Apply, readOnlyDirectoriesOfAnUnprivilegedCaller) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  put("host", "closed/f", "old\n");
  put("host", "open/f", "old\n");
  begin();
  put("task", "closed/f", "new\n");
  put("task", "open/f", "new\n");
  directory("task", "made", 0555);
  put("task", "made/f", "new\n", 0444);
  ASSERT_EQ(chmod(at("task", "made").c_str(), 0555), 0);
  // NOLINTNEXTLINE(cert-env33-c): with paths of our own making
  ASSERT_EQ(system(("chown -R 4321:4321 " + top_ + " && chmod 555 " + at("host", "closed") + " " + at("task", "closed")).c_str()), 0);
  const ChangeSet set = changes();
  EXPECT_EQ(asUser(4321,
                   [&] {
                     const auto items = apply(set);
                     return itemOf(items, "closed/f").verdict == Verdict::failed && countOf(items, Verdict::failed) == 1 ? 0 : 1;
                   }),
            0);
  EXPECT_EQ(content("host", "closed/f"), "old\n");
  EXPECT_EQ(content("host", "open/f"), "new\n");
  EXPECT_EQ(content("host", "made/f"), "new\n") << "a new directory may end read-only";
  EXPECT_EQ(asUser(4321,
                   [&] {
                     const auto items = apply(set, with(&ApplyOptions::allOrNothing));
                     return countOf(items, Verdict::failed) == 1 && report_.undone ? 0 : 1;
                   }),
            0);
}

TEST_F(Apply, repositoryOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  put("host", "f", "old\n");
  begin();
  put("task", "f", "new\n");
  chmod(top_.c_str(), 0755);
  const ChangeSet set = changes();
  EXPECT_EQ(asUser(4321,
                   [&] {
                     try {
                       apply(set);
                     } catch (const Error& error) {
                       return error.code() == Code::denied && !error.hint().empty() ? 0 : 1;
                     }
                     return 2;
                   }),
            0);
  EXPECT_EQ(content("host", "f"), "old\n");
  // Root applies to a user's tree: what it makes is the user's.
  // NOLINTNEXTLINE(cert-env33-c): with paths of our own making
  ASSERT_EQ(system(("chown -R 4321:4321 " + top_ + "/host").c_str()), 0);
  put("task", "new/f", "new\n");
  apply(changes());
  struct stat st {};
  for (const char* path : {"f", "new", "new/f"}) {
    ASSERT_EQ(stat(at("host", path).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 4321u) << path;
  }
}

TEST_F(Apply, diskFull) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, for a small file system";
  if (unshare(CLONE_NEWNS) != 0) GTEST_SKIP() << "no mount namespace";
  ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  ASSERT_EQ(mount("rauha-test", (top_ + "/host").c_str(), "tmpfs", 0, "size=256k"), 0);
  const Defer unmount([this] { umount2((top_ + "/host").c_str(), MNT_DETACH); });
  put("host", "a", "old\n");
  begin();
  put("task", "a", std::string(1 << 20, 'n'));
  put("task", "b", "fits\n");
  const ChangeSet set = changes();
  auto items = apply(set);
  EXPECT_EQ(itemOf(items, "a").verdict, Verdict::failed);
  EXPECT_EQ(content("host", "a"), "old\n");
  EXPECT_EQ(content("host", "b"), "fits\n");
  unlink(at("host", "b").c_str());
  items = apply(set, with(&ApplyOptions::allOrNothing));
  EXPECT_FALSE(exists("host", "b"));
  EXPECT_EQ(content("host", "a"), "old\n");
}

TEST_F(Apply, oneAtATime) {
  repository();
  put("task", "README", "changed\n");
  const ChangeSet set = changes();
  {
    const ApplyLock lock(Tree(top_ + "/host"));
    EXPECT_THROW(apply(set), Error);
    EXPECT_NO_THROW(ApplyLock(Tree(top_ + "/task"))) << "another tree";
  }
  EXPECT_EQ(countOf(apply(set), Verdict::apply), 1u);
}

TEST_F(Apply, aTaskCannotHoldTheLock) {
  repository();
  put("task", "README", "changed\n");
  const ChangeSet set = changes();
  const UniqueFd reachable(open((top_ + "/host").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(flock(reachable.get(), LOCK_EX), 0);
  EXPECT_EQ(countOf(apply(set), Verdict::apply), 1u);
}

TEST_F(Apply, theLockIsInADirectoryOfItsOwnThatGoes) {
  repository();
  const Tree tree(top_ + "/host");
  const std::string own = "/rauha-apply-" + std::to_string(geteuid());
  for (const char* name : {"/open", "/link", "/good"}) fs::create_directory(top_ + name);
  fs::create_directory(top_ + "/open" + own);
  fs::permissions(top_ + "/open" + own, fs::perms::all);
  fs::create_directory_symlink(top_, top_ + "/link" + own);
  {
    const ApplyLock lock(tree, {top_ + "/none", top_ + "/open", top_ + "/link", top_ + "/good"});
    EXPECT_TRUE(fs::exists(top_ + "/good" + own + "/" + std::to_string(tree.device()) + "-" + std::to_string(tree.inode())));
    EXPECT_THROW(ApplyLock(tree, {top_ + "/good"}), Error);
  }
  EXPECT_TRUE(fs::is_empty(top_ + "/good"));
  EXPECT_TRUE(fs::is_empty(top_ + "/open" + own));
  EXPECT_THROW(ApplyLock(tree, {top_ + "/none", top_ + "/open"}), Error) << "no lock, no apply";
}

TEST_F(Apply, anotherTreeIsRefused) {
  repository();
  const ChangeSet set = changes();
  fs::create_directory(top_ + "/other");
  EXPECT_THROW(Tree(top_ + "/other").mustBe(set.base), Error);
  EXPECT_THROW(Tree(top_ + "/none"), Error);
  fs::create_directory_symlink(top_ + "/host", top_ + "/alias");
  EXPECT_NO_THROW(Tree(top_ + "/alias").mustBe(set.base)) << "the user's own path may be a link";
}

TEST_F(Apply, leftoversGoAndStrangersStay) {
  repository();
  put("task", "README", "changed\n");
  const ChangeSet set = changes();
  const std::string ours = std::string(kWorkPrefix) + "apply_0123456789abcdefghij",
                    theirs = std::string(kWorkPrefix) + "apply_aaaaaaaaaaaaaaaaaaaa";
  directory("host", ours, 0700);
  put("host", ours + "/s0", "half");
  put("host", ours + "/u1", "half");
  directory("host", theirs, 0700);
  put("host", theirs + "/precious", "user's");
  const Tree tree(set.base.path);
  DirectorySource source(top_ + "/task");
  auto items = planApply(set, tree, {});
  const auto report = runApply(set, tree, source, {}, items);
  EXPECT_FALSE(exists("host", ours));
  EXPECT_EQ(content("host", theirs + "/precious"), "user's");
  EXPECT_EQ(report.notes.size(), 1u);
}

// Whatever the moment: each file is whole, old or new, and another apply completes the work.
TEST_F(Apply, killedAtAnyMoment) {
  const std::string oldText(200'000, 'o'), newText(300'000, 'n');
  for (int round = 0; round < 25; ++round) {
    fs::remove_all(top_ + "/host");
    for (int i = 0; i < 12; ++i) put("host", "d" + std::to_string(i % 3) + "/f" + std::to_string(i), oldText);
    begin();
    for (int i = 0; i < 12; ++i) {
      const std::string path = "d" + std::to_string(i % 3) + "/f" + std::to_string(i);
      if (i % 4 == 3)
        fs::remove(at("task", path));
      else
        put("task", path, newText);
      put("task", "new" + std::to_string(i) + "/f", newText);
    }
    const ChangeSet set = changes();
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      const Tree tree(set.base.path);
      DirectorySource source(top_ + "/task");
      ApplyOptions options;
      options.allOrNothing = round % 2 == 0;
      auto items = planApply(set, tree, options);
      if (write(ready[1], "x", 1) != 1) _exit(1);
      runApply(set, tree, source, options, items);
      _exit(0);
    }
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]), close(ready[1]);
    usleep(static_cast<useconds_t>(round * 700));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    for (const auto& change : set.changes) {
      if (change.after.type == FileType::directory || !exists("host", change.path)) continue;
      const std::string text = content("host", change.path);
      ASSERT_TRUE(text == oldText || text == newText) << change.path << " has " << text.size() << " bytes in round " << round;
    }
    const auto items = apply(set, owner());
    ASSERT_EQ(countOf(items, Verdict::conflict), 0u);
    ASSERT_EQ(countOf(items, Verdict::failed), 0u);
    ASSERT_EQ(listing(top_ + "/host"), listing(top_ + "/task")) << "round " << round;
  }
}

}  // namespace
}  // namespace rauha::cli::testing
