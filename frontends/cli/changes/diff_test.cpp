// What `rauha diff` shows of a change set: text, counts, and a patch that the real `git apply` turns the host's tree into the task's with.
#include "frontends/cli/changes/diff.h"

#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "frontends/cli/changes/testing/trees.h"

namespace rauha::cli::testing {
namespace {

namespace fs = std::filesystem;

class Diff : public Trees {
 protected:
  enum class Form { text, all, stat, names, patch };
  std::string diff(Form form, bool terminal = false, bool withTree = true) {
    out_.clear();
    notes_.clear();
    set_ = changes();
    for (auto& change : set_.changes)
      if (change.path.find("__pycache__") != std::string::npos) change.noise = "__pycache__";
    return print(set_, form, terminal, withTree);
  }
  std::string print(const ChangeSet& set, Form form, bool terminal = false, bool withTree = true) {
    const Tree tree(top_ + "/host");
    DirectorySource source(top_ + "/task");
    const Style style(-1);
    DiffPrinter printer(
        withTree ? &tree : nullptr, source, [this](std::string_view text) { out_ += text; },
        [this](std::string_view text) { notes_ += std::string(text) + "\n"; }, terminal, style, hostChangedText(set), paths_);
    const auto chosen = selectChanges(set, paths_);
    if (form == Form::stat) printer.stat(chosen, false);
    if (form == Form::names) printer.names(chosen, false);
    if (form == Form::patch) whole_ = printer.patch(chosen, caches_);
    if (form == Form::text || form == Form::all) printer.text(chosen, form == Form::all);
    return out_;
  }
  // Bytes that this process has read, from whatever.
  static uint64_t readSoFar() {
    std::ifstream io("/proc/self/io");
    std::string key;
    uint64_t value = 0;
    while (io >> key >> value)
      if (key == "rchar:") return value;
    return 0;
  }
  bool caches_ = true;
  std::vector<std::string> paths_;
  bool has(const std::string& text) const { return out_.find(text) != std::string::npos; }

  // What git makes of the patch, compared without what it cannot carry.
  void expectGitGivesTheSame() {
    const std::string patch = diff(Form::patch);
    std::ofstream(top_ + "/patch", std::ios::binary) << patch;
    ASSERT_EQ(
        // NOLINTNEXTLINE(cert-env33-c): with a path of our own making
        system(("cd " + top_ + " && rm -rf git && cp -a host git && cd git && git apply --whitespace=nowarn ../patch 2>../log").c_str()), 0)
        << patch << std::ifstream(top_ + "/log").rdbuf();
    const auto plain = [](const std::string& top) {
      Listing out;
      for (const auto& entry : fs::recursive_directory_iterator(top)) {
        const auto status = entry.symlink_status();
        const std::string path = entry.path().string().substr(top.size() + 1);
        if (fs::is_symlink(status)) out[path] = "-> " + fs::read_symlink(entry.path()).string();
        if (!fs::is_regular_file(status)) continue;
        std::ifstream in(entry.path(), std::ios::binary);
        const bool executable = (status.permissions() & fs::perms::owner_exec) != fs::perms::none;
        out[path] = (executable ? "x " : "- ") + std::string(std::istreambuf_iterator<char>(in), {});
      }
      return out;
    };
    EXPECT_EQ(plain(top_ + "/git"), plain(top_ + "/task"));
  }

  std::string out_, notes_;
  bool whole_ = true;
};

TEST_F(Diff, text) {
  put("host", "a", "one\ntwo\n");
  put("host", "bin", std::string("x\0y", 3));
  put("host", "gone", "bye\n");
  begin();
  put("task", "a", "one\n2\n");
  put("task", "bin", std::string("x\0yz", 4));
  put("task", ".git/hooks/pre-commit", "#!/bin/sh\n", 0755);
  put("task", "__pycache__/m.pyc", "x");
  fs::remove(at("task", "gone"));
  diff(Form::text);
  EXPECT_TRUE(has("--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n")) << out_;
  EXPECT_TRUE(has("Binary files a/bin and b/bin differ (3 -> 4 bytes)")) << out_;
  EXPECT_TRUE(has("# gone: deleted file\n")) << out_;
  EXPECT_TRUE(has("# .git/hooks/pre-commit: new file, protected: git hook\n")) << out_;
  EXPECT_LT(out_.find("pre-commit"), out_.find("--- a/a"));
  EXPECT_TRUE(has("# __pycache__: ")) << out_;
  EXPECT_FALSE(has("m.pyc"));
  diff(Form::all);
  EXPECT_TRUE(has("m.pyc"));
}

TEST_F(Diff, counts) {
  put("host", "a", "one\ntwo\n");
  begin();
  put("task", "a", "one\n2\n3\n");
  put("task", "b", std::string("\0", 1));
  chmod(at("task", "a").c_str(), 0755);
  diff(Form::stat);
  EXPECT_TRUE(has(" a | 3 ++-\n")) << out_;
  EXPECT_TRUE(has(" b | Bin 0 -> 1 bytes\n")) << out_;
  diff(Form::names);
  EXPECT_EQ(out_, "M\ta\nA\tb\n");
}

TEST_F(Diff, countsOfAnotherTypeSayWhichItIs) {
  link("host", "link", "a");
  put("host", "a", "one\ntwo\n");
  begin();
  fs::remove(at("task", "link"));
  put("task", "link/in", "x\n");
  fs::remove(at("task", "a"));
  link("task", "a", "elsewhere");
  diff(Form::stat);
  EXPECT_TRUE(has("link    | symbolic link -> directory\n")) << out_;
  EXPECT_TRUE(has("a       | file -> symbolic link\n")) << out_;
}

TEST_F(Diff, namesLeaveNoiseOutAndMarkWhatIsProtected) {
  put("task", "a", "x\n");
  put("task", "src/__pycache__/m.pyc", "x");
  put("task", ".git/hooks/pre-commit", "#!/bin/sh\n", 0755);
  diff(Form::names);
  EXPECT_TRUE(has("A\t.git/hooks/pre-commit\t[git hook]\n")) << out_;
  EXPECT_TRUE(has("A\ta\n"));
  EXPECT_FALSE(has("m.pyc"));
  EXPECT_TRUE(has("# __pycache__: 2 changes")) << out_;
}

TEST_F(Diff, whatWasNamedIsShown) {
  put("task", "src/a", "x\n");
  put("task", "src/__pycache__/m.pyc", "x");
  for (const auto form : {Form::text, Form::stat, Form::names}) {
    paths_ = {"src/__pycache__"};
    diff(form);
    EXPECT_TRUE(has("m.pyc")) << out_;
    EXPECT_FALSE(has("--all shows"));
    paths_ = {"src"};
    diff(form);
    EXPECT_FALSE(has("m.pyc")) << out_ << "what is above a cache names no cache";
  }
}

TEST_F(Diff, whatIsInTheTreeAlreadyIsSaid) {
  put("host", "changed", "old\n");
  put("host", "gone", "bye\n");
  put("host", "stays", "old\n");
  link("host", "link", "a");
  begin();
  put("task", "changed", "new\n");
  put("task", "stays", "new\n");
  put("task", "added", "new\n");
  fs::remove(at("task", "gone"));
  fs::remove(at("task", "link"));
  link("task", "link", "b");
  const ChangeSet set = changes();
  put("host", "changed", "new\n");
  put("host", "added", "new\n");
  fs::remove(at("host", "gone"));
  fs::remove(at("host", "link"));
  link("host", "link", "b");
  print(set, Form::text);
  EXPECT_TRUE(has("# changed: changed, already in your tree\n")) << out_;
  EXPECT_TRUE(has("# gone: deleted file, already in your tree\n")) << out_;
  EXPECT_TRUE(has("# link: changed, already in your tree\n")) << out_;
  EXPECT_TRUE(has("# added: new file, already in your tree\n")) << out_;
  EXPECT_TRUE(has("+++ b/added\n"));
  EXPECT_FALSE(has("cannot be read")) << out_;
  EXPECT_TRUE(has("# stays: changed\n")) << out_;
  print(set, Form::stat);
  EXPECT_TRUE(has("gone    | already in your tree\n")) << out_;
  print(set, Form::patch);
  EXPECT_TRUE(whole_);
  EXPECT_NE(notes_.find("not in the patch: already in your tree: changed, gone, link\n"), std::string::npos) << notes_;
  // What went is there no more, and other content is not the task's.
  put("host", "changed", "mine\n");
  put("host", "gone", "bye\n");
  out_.clear();
  print(set, Form::text);
  EXPECT_FALSE(has("# changed: changed, already")) << out_;
  EXPECT_FALSE(has("# gone: deleted file, already")) << out_;
}

TEST_F(Diff, aFollowUpSaysSinceWhen) {
  put("host", "a", "old\n");
  begin();
  put("task", "a", "new\n");
  ChangeSet set = changes();
  set.changes[0].hostChanged = true;
  print(set, Form::text);
  EXPECT_TRUE(has("the host's file changed while the task ran")) << out_;
  set.from = "task_x";
  print(set, Form::text);
  EXPECT_TRUE(has("the host's file changed since the task that it goes on from began")) << out_;
}

TEST_F(Diff, terminalIsNotSteered) {
  put("host", "a", "x\n");
  begin();
  put("task", "a", "\x1b[2J\ttab\xff\n");
  put("task", "n\x1b[1m", "x\n");
  diff(Form::text, true);
  EXPECT_FALSE(has("\x1b"));
  EXPECT_TRUE(has("+\\x1b[2J\ttab")) << out_;
  diff(Form::text, false);
  EXPECT_TRUE(has("+\x1b[2J\ttab\xff\n")) << "into a pipe it is what it is";
}

TEST_F(Diff, aPatchDoesNotSteerATerminalEither) {
  begin();
  put("task", "a", "\x1b[2J\n");
  diff(Form::patch, true);
  EXPECT_FALSE(has("\x1b"));
  EXPECT_TRUE(has("+\\x1b[2J\n")) << out_;
}

TEST_F(Diff, holesAndBinariesAreNotRead) {
  put("host", "same", std::string("\0\1", 2));
  put("host", "late", std::string(10'000, 'x') + "\n");
  begin();
  for (int i = 0; i < 4; ++i) {
    put("task", "sparse" + std::to_string(i), "");
    fs::resize_file(at("task", "sparse" + std::to_string(i)), 32 << 20);
  }
  put("task", "late", std::string(10'000, 'x') + "\n");
  fs::resize_file(at("task", "late"), 1 << 20);
  put("task", "same", std::string("\0\2", 2));
  const ChangeSet set = changes();
  const uint64_t before = readSoFar();
  print(set, Form::text);
  print(set, Form::stat);
  EXPECT_LT(readSoFar() - before, 10u << 20) << "of 128 MiB";
  EXPECT_TRUE(has("Binary files /dev/null and b/sparse3 differ (0 -> 33554432 bytes)\n")) << out_;
  EXPECT_TRUE(has("Binary files a/late and b/late differ (10001 -> 1048576 bytes)\n"));
  EXPECT_TRUE(has(" sparse3 | Bin 0 -> 33554432 bytes\n"));
  EXPECT_TRUE(has(" same    | Bin 2 -> 2 bytes\n"));
  // What an apply brought there is no difference, and what the user wrote is said.
  put("host", "same", std::string("\0\2", 2));
  put("host", "late", std::string(10'000, 'y') + "\n");
  out_.clear();
  print(set, Form::text);
  EXPECT_FALSE(has("a/same and b/same differ"));
  EXPECT_TRUE(has("# late: changed, the host's file changed since the task began\n")) << out_;
}

TEST_F(Diff, tooManyLinesAreNamed) {
  const std::string lines(kComparedLines, '\n');
  put("host", "a", lines);
  begin();
  put("task", "a", "x\n" + lines + "y\n");
  put("task", "b", lines);
  diff(Form::stat);
  EXPECT_TRUE(has(" a | too large to compare: 2000002 lines differ or lie between\n")) << out_;
  EXPECT_TRUE(has(" b | 1000000 +++++")) << out_;
  diff(Form::text);
  EXPECT_TRUE(has("# a: changed, too large to compare: 2000002 lines differ or lie between\n#")) << out_.substr(0, 200);
  expectGitGivesTheSame();
}

TEST_F(Diff, oneCallReadsSoMuch) {
  put("host", "b", "old\n");
  begin();
  for (const char* name : {"a", "b", "c"}) put("task", name, std::string(999, 'x') + "\n");
  put("task", "d", "x\n");
  ChangeSet set = changes();
  std::sort(set.changes.begin(), set.changes.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  const Tree tree(top_ + "/host");
  DirectorySource source(top_ + "/task");
  Loader loader(&tree, source, {1000, 1536, false});
  std::string omitted;
  for (const auto& change : set.changes) omitted += change.path + ": " + loader.load(change).omitted + "\n";
  const std::string left = "left out: more than 1.5KiB in one call\n";
  EXPECT_EQ(omitted, "a: \nb: " + left + "c: " + left + "d: \n");
  EXPECT_EQ(loader.leftOut(), "the content of 2 changes (2.0KiB) is left out: one call reads 1.5KiB at most; name paths to see the rest");
}

TEST_F(Diff, hostsFileIsNotWhatItWas) {
  put("host", "a", "one\n");
  put("host", "b", "one\n");
  begin();
  put("task", "a", "task\n");
  put("task", "b", "task\n");
  const ChangeSet set = changes();
  put("host", "a", "user\n");
  fs::remove(at("host", "b"));
  print(set, Form::text);
  EXPECT_TRUE(has("# a: changed, the host's file changed since the task began\n")) << out_;
  EXPECT_TRUE(has("-user\n+task\n")) << "compared with what is there";
  EXPECT_TRUE(has("# b: changed, the host's file changed since the task began, the host's file cannot be read")) << out_;
  print(set, Form::patch);
  EXPECT_FALSE(whole_);
  EXPECT_NE(notes_.find("not in the patch: b"), std::string::npos) << notes_;
  out_.clear();
  print(set, Form::text, false, false);
  EXPECT_TRUE(has("the host's tree is not there")) << out_;
}

// Also where nothing has to be read to compare: links, what came or went, and what the task only removed.
TEST_F(Diff, hostsLinksAndNamesAreNotWhatTheyWere) {
  link("host", "l", "a");
  link("host", "same", "a");
  put("host", "removed", "one\n");
  put("host", "mode", "one\n");
  begin();
  for (const char* name : {"l", "same"}) {
    fs::remove(at("task", name));
    link("task", name, "b");
  }
  put("task", "new", "x\n");
  fs::remove(at("task", "removed"));
  chmod(at("task", "mode").c_str(), 0600);
  const ChangeSet set = changes();
  const auto differs = [&](const std::string& path) {
    const size_t begin = out_.find("# " + path + ":");
    return begin != std::string::npos &&
           out_.substr(begin, out_.find('\n', begin) - begin).find("since the task began") != std::string::npos;
  };
  print(set, Form::text);
  for (const char* name : {"l", "same", "new", "removed", "mode"}) EXPECT_FALSE(differs(name)) << name << out_;
  fs::remove(at("host", "l"));
  link("host", "l", "somewhere else");
  put("host", "new", "user's\n");
  put("host", "removed", "the user wrote more\n");
  put("host", "mode", "the user wrote more\n");
  out_.clear();
  print(set, Form::text);
  for (const char* name : {"l", "new", "removed", "mode"}) EXPECT_TRUE(differs(name)) << name << out_;
  EXPECT_FALSE(differs("same"));
  print(set, Form::patch);
  EXPECT_NE(notes_.find("the host's file changed since the task began: l\n"), std::string::npos) << notes_;
}

TEST_F(Diff, aPatchHasNoCachesUnlessAsked) {
  begin();
  put("task", "src/__pycache__/evil.pyc", "x");
  put("task", "src/a.py", "x\n");
  put("task", ".envrc", "x\n");
  caches_ = false;
  diff(Form::patch);
  EXPECT_FALSE(has("evil.pyc"));
  EXPECT_TRUE(has("src/a.py"));
  EXPECT_NE(notes_.find("caches, whose content tools run (--all has them): src/__pycache__"), std::string::npos) << notes_;
  EXPECT_NE(notes_.find("the patch has what can run code on this machine: .envrc"), std::string::npos) << notes_;
  EXPECT_TRUE(whole_);
  caches_ = true;
  diff(Form::patch);
  EXPECT_TRUE(has("evil.pyc"));
}

TEST_F(Diff, hostsLinkIsNotFollowed) {
  put("host", "a", "one\n");
  begin();
  put("task", "a", "task\n");
  const ChangeSet set = changes();
  fs::remove(at("host", "a"));
  link("host", "a", "/etc/passwd");
  print(set, Form::text);
  EXPECT_FALSE(has("root:"));
}

TEST_F(Diff, whatAPatchCannotSay) {
  put("host", "a", "one\n");
  begin();
  directory("task", "empty");
  put("task", "secret", "x\n", 0600);
  put("task", ".git/index", "x");
  ASSERT_EQ(mkfifo(at("task", "pipe").c_str(), 0600), 0);
  diff(Form::patch);
  EXPECT_NE(notes_.find("empty directory: empty"), std::string::npos) << notes_;
  EXPECT_NE(notes_.find("mode 0600: secret"), std::string::npos) << notes_;
  EXPECT_NE(notes_.find("special file: pipe"), std::string::npos) << notes_;
  EXPECT_NE(notes_.find("which git apply refuses: .git"), std::string::npos) << notes_;
  EXPECT_FALSE(has(".git/index"));
  EXPECT_TRUE(whole_);
}

TEST_F(Diff, gitAppliesThePatch) {
  put("host", "a", "one\ntwo\n");
  put("host", "d/x", "x\n");
  put("host", "f", "f\n");
  put("host", "run", "#!/bin/sh\n");
  link("host", "l", "a");
  begin();
  put("task", "a", "one\r\n2");
  put("task", "bin", std::string("\0\1\2", 3));
  put("task", "n\new/-rf \"q\"", "x\n");
  fs::remove_all(at("task", "d"));
  put("task", "d", "a file\n");
  fs::remove(at("task", "f"));
  put("task", "f/x", "a directory\n");
  chmod(at("task", "run").c_str(), 0755);
  fs::remove(at("task", "l"));
  link("task", "l", "run");
  expectGitGivesTheSame();
}

TEST_F(Diff, gitAppliesRandomPatches) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    fs::remove_all(top_ + "/host");
    fs::create_directory(top_ + "/host");
    scribble(top_ + "/host", random, 40);
    begin();
    scribble(top_ + "/task", random, 20);
    expectGitGivesTheSame();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace rauha::cli::testing
