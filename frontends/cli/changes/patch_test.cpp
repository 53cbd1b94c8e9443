// Patches against the real `git apply`: what it makes of them must be the tree that was meant.
#include "frontends/cli/changes/patch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "frontends/cli/changes/git_binary.h"

namespace rauha::cli {
namespace {

namespace fs = std::filesystem;

Side file(std::string bytes, uint32_t mode = 0644) { return {FileType::regular, mode, std::move(bytes)}; }
Side link(std::string target) { return {FileType::symlink, 0777, std::move(target)}; }

class Patch : public ::testing::Test {
 protected:
  Patch() {
    char name[] = "/tmp/rauha-patch-XXXXXX";
    top_ = mkdtemp(name);
  }
  ~Patch() override { fs::remove_all(top_); }

  void put(const std::string& path, const Side& side) const {
    const fs::path at = fs::path(top_) / "tree" / path;
    fs::create_directories(at.parent_path());
    if (side.type == FileType::symlink) return fs::create_symlink(side.bytes, at);
    std::ofstream(at, std::ios::binary) << side.bytes;
    ASSERT_EQ(chmod(at.c_str(), side.mode), 0);
  }
  bool git(const std::string& options = {}) const {
    // NOLINTNEXTLINE(cert-env33-c): with a path of our own making
    return system(("cd " + top_ + "/tree && git apply --whitespace=nowarn " + options + " ../patch 2>../log").c_str()) == 0;
  }
  // Applies the patch to the old side and compares with the new one, then reverses it.
  void expectRoundTrip(const std::string& path, const std::string& from, const Side& before, const Side& after) const {
    fs::remove_all(top_ + "/tree");
    fs::create_directories(top_ + "/tree");
    const std::string& old = from.empty() ? path : from;
    if (before.type != FileType::none) put(old, before);
    const std::string text = patchOf(path, from, before, after, BinaryForm::literal);
    std::ofstream(top_ + "/patch", std::ios::binary) << text;
    ASSERT_TRUE(git()) << text << log();
    expectSide(path, after);
    if (!from.empty()) expectSide(from, Side{});
    ASSERT_TRUE(git("--reverse")) << text << log();
    expectSide(old, before);
  }
  void expectSide(const std::string& path, const Side& side) const {
    const fs::path at = fs::path(top_) / "tree" / path;
    struct stat st {};
    const bool there = lstat(at.c_str(), &st) == 0;
    ASSERT_EQ(there, side.type != FileType::none) << path;
    if (!there) return;
    ASSERT_EQ(S_ISLNK(st.st_mode), side.type == FileType::symlink);
    if (side.type == FileType::symlink) {
      EXPECT_EQ(fs::read_symlink(at).string(), side.bytes);
      return;
    }
    std::ifstream in(at, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), side.bytes) << path;
    EXPECT_EQ(st.st_mode & 0100, side.mode & 0100);
  }
  std::string log() const {
    std::ifstream in(top_ + "/log");
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  std::string top_;
};

TEST_F(Patch, everyKind) {
  const Side none{}, text = file("one\ntwo\nthree\n");
  expectRoundTrip("a", "", text, file("one\n2\nthree\n"));
  expectRoundTrip("d/new", "", none, text);
  expectRoundTrip("d/gone", "", text, none);
  expectRoundTrip("empty", "", none, file(""));
  expectRoundTrip("empty", "", file(""), none);
  expectRoundTrip("emptied", "", text, file(""));
  expectRoundTrip("filled", "", file(""), text);
  expectRoundTrip("mode", "", text, file(text.bytes, 0755));
  expectRoundTrip("both", "", text, file("x\n", 0755));
  expectRoundTrip("new/name", "old/name", text, text);
  expectRoundTrip("to", "from", text, file(text.bytes, 0755));
  expectRoundTrip("link", "", none, link("../x y"));
  expectRoundTrip("link", "", link("a"), link("b"));
  expectRoundTrip("link2", "link1", link("a"), link("a"));
  expectRoundTrip("turned", "", text, link("a"));
  expectRoundTrip("turned", "", link("a"), text);
  expectRoundTrip("script", "", none, file("#!/bin/sh\n", 0755));
}

TEST_F(Patch, lineEnds) {
  expectRoundTrip("a", "", file("a\nb"), file("a\nb\n"));
  expectRoundTrip("a", "", file("a\nb\n"), file("a\nb"));
  expectRoundTrip("a", "", file("a"), file("b"));
  expectRoundTrip("a", "", file("a\r\nb\r\n"), file("a\r\nc\r\n"));
  expectRoundTrip("a", "", file("a\r\nb\r\n"), file("a\nb\n"));
  expectRoundTrip("a", "", file("x \t\n\n\n"), file(" x\n\n \n"));
  expectRoundTrip("a", "", file("\xff\xfe\n"), file("\xff\xfd\n\x1b[2J\n"));
  expectRoundTrip("a", "", file("-- \n--- a\n+++ b\n@@ -1 +1 @@\n"), file("diff --git a/x b/x\n--- a\n"));
}

TEST_F(Patch, binary) {
  const std::string zero("a\0b", 3);
  expectRoundTrip("b", "", Side{}, file(zero));
  expectRoundTrip("b", "", file(zero), Side{});
  expectRoundTrip("b", "", file("text\n"), file(zero, 0755));
  expectRoundTrip("late", "", file("t\n"), file(std::string(9000, 'x') + zero));
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (const size_t size : {1u, 3u, 4u, 51u, 52u, 53u, 200u, 70'000u}) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    bytes.back() = '\0';
    expectRoundTrip("r", "", file("old\n"), file(bytes));
  }
}

TEST_F(Patch, names) {
  for (const std::string name : {"with space", "-rf", "tab\tname", "new\nline", "quote\"d", "back\\slash", "\xff\xfe", "\xc3\xa4",
                                 "a b/c d", "dev null", "trailing ", " leading", "b/x b/x", "\x01\x7f", "x;y&z|'"}) {
    expectRoundTrip(name, "", file("1\n"), file("2\n"));
    expectRoundTrip(name, "", Side{}, file(""));
    expectRoundTrip(name, "", file("1\n"), file("1\n", 0755));
    expectRoundTrip("t/" + name, "f/" + name, file("1\n"), file("1\n"));
    expectRoundTrip(name, "", Side{}, file(std::string(1, '\0')));
  }
  expectRoundTrip(std::string(255, 'n'), "", Side{}, file("1\n"));
}

// Lines that a table would be too much for: still a patch that git takes, both ways.
TEST_F(Patch, moreLinesThanAreCompared) {
  const std::string lines(kComparedLines / 2 + 10, '\n');
  const Side before = file("a\nb\nc\nd\n" + lines + "e\nf\ng\nh\n"), after = file("a\nb\nc\nd\nx\n" + lines + "y\ne\nf\ng\nh\n");
  const std::string text = patchOf("f", "", before, after, BinaryForm::literal);
  EXPECT_EQ(text.substr(text.find("@@"), 40),
            "@@ -2," + std::to_string(lines.size() + 6) + " +2," + std::to_string(lines.size() + 8) + " @@\n b\n c\n d\n-\n-\n-")
      << "one hunk with what is around it";
  expectRoundTrip("f", "", before, after);
  expectRoundTrip("f", "", file(lines), file("x\n" + lines + "y"));
  LineWork work;
  EXPECT_EQ(countLines(file(lines), file(lines + lines), work).added, lines.size()) << "what only one side has needs no table";
  EXPECT_EQ(work.lines, LineWork().lines);
}

// A call's share of lines and steps is used up by some files; the others are still right.
TEST_F(Patch, workIsForAllFilesTogether) {
  LineWork work{8, 1'000'000};
  const Side before = file("1\n2\n3\n"), after = file("0\n1\n2\n4\n");
  const auto text = [&](const Side& old, const Side& now) {
    std::string out;
    writePatch("f", "", old, now, BinaryForm::literal, work, [&](std::string_view lines) { out += lines; });
    return out.substr(out.find("@@"));
  };
  EXPECT_EQ(text(before, after), "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n-3\n+4\n");
  EXPECT_EQ(text(before, after), "@@ -1,3 +1,4 @@\n-1\n-2\n-3\n+0\n+1\n+2\n+4\n");
  work = {100, 0};
  EXPECT_EQ(text(file("a\nb\n"), file("b\na\n")), "@@ -1,2 +1,2 @@\n-a\n-b\n+b\n+a\n");
}

// Near the ends, where the context is short and lines may have no break.
TEST_F(Patch, whatLiesBetweenEqualEnds) {
  for (const std::string head : {"", "a\n", "a\nb\nc\nd\n"})
    for (const std::string tail : {"", "z", "x\ny\nz\nz\n", "x\nz"}) {
      expectRoundTrip("f", "", file(head + tail), file(head + "new\n" + tail));
      expectRoundTrip("f", "", file(head + "old\n" + tail), file(head + tail));
      expectRoundTrip("f", "", file(head + "1\n2\n" + tail), file(head + "2\n3\n" + tail));
      expectRoundTrip("f", "", file(head + "1" + tail), file(head + "2" + tail));
    }
}

TEST_F(Patch, randomTexts) {
  std::mt19937 random(11);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (int round = 0; round < 40; ++round) {
    std::string before, after;
    for (int i = 0; i < 60; ++i) {
      const std::string line = std::to_string(random() % 12) + "\n";
      if (random() % 5 != 0) before += line;
      if (random() % 5 != 0) after += line;
    }
    if (random() % 4 == 0) before += "end";
    if (random() % 4 == 0) after += "end";
    expectRoundTrip("f", "", file(before), file(after));
  }
}

TEST(PatchText, sameIsNothing) { EXPECT_EQ(patchOf("a", "", file("x"), file("x", 0664), BinaryForm::literal), ""); }

TEST(PatchText, binaryIsNamedForPeople) {
  const std::string text = patchOf("b", "", Side{}, file(std::string(5, '\0')), BinaryForm::named);
  EXPECT_NE(text.find("Binary files /dev/null and b/b differ (0 -> 5 bytes)\n"), std::string::npos) << text;
}

TEST(PatchText, blobNamesAreGits) {
  EXPECT_EQ(gitBlobId(""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(gitBlobId("hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(PatchText, whatGitCannotSay) {
  Change change;
  change.kind = ChangeKind::added;
  change.after = {FileType::regular, 1, 0640};
  change.after.xattrs = {{"user.a", "1"}};
  EXPECT_EQ(unsaid(change), (std::vector<std::string>{"extended attributes", "mode 0640"}));
  EXPECT_TRUE(isInsideGit("sub/.GIT/config"));
  EXPECT_FALSE(isInsideGit(".gitignore"));
}

}  // namespace
}  // namespace rauha::cli
