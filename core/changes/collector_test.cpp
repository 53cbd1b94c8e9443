#include "core/changes/collector.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/base/clock.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/git_index.h"
#include "core/base/testing/git_index_bytes.h"
#include "core/changes/change_set_message.h"
#include "core/changes/testing/overlay_fixture.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

using namespace testing;

class CollectorTest : public OverlayTest {
 protected:
  // Runs `task` with the base below an overlay at merged_, then collects what it wrote.
  template <typename F>
  ChangeSet after(F task) {
    upper_ = fresh("upper");
    mountOverlay({base_}, upper_);
    task();
    unmount();
    return collectLayer(upper_);
  }
  static const Change& at(const ChangeSet& set, const std::string& path) {
    const Change* found = find(set, path);
    if (found == nullptr) throw std::runtime_error("no change of " + path);
    return *found;
  }
  std::string upper_;
};

bool succeeded(int result) { return result == 0; }
void set(const std::string& path, const char* key, const std::string& value) {
  ASSERT_TRUE(succeeded(lsetxattr(path.c_str(), key, value.data(), value.size(), 0))) << key << ": " << strerror(errno);
}
void socketAt(const std::string& path) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ASSERT_TRUE(succeeded(bind(fd.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address)));
}

TEST_F(CollectorTest, NothingDone) {
  write(base_ + "/a", "1");
  const auto set = after([] {});
  EXPECT_EQ(set.totals.count(), 0U);
  EXPECT_TRUE(set.changes.empty());
  EXPECT_TRUE(set.kept);
  EXPECT_TRUE(set.followable);
  EXPECT_EQ(set.hostTree, HostTree::unchanged);
  EXPECT_TRUE(names(openTop(keptLayer()).get()).empty());
}

TEST_F(CollectorTest, EachKindAndField) {
  for (const auto name : {"content", "mode", "owner", "attribute", "time", "gone", "becomes-link", "same"})
    write(base_ + "/" + name, "old");
  ASSERT_TRUE(succeeded(symlink("old-target", (base_ + "/link").c_str())));
  const auto set = after([&] {
    write(merged_ + "/content", "new content");
    chmod((merged_ + "/mode").c_str(), 0755);
    ASSERT_TRUE(succeeded(chown((merged_ + "/owner").c_str(), 7, 8)));
    changes::set(merged_ + "/attribute", "user.x", "y");
    setMtime(merged_ + "/time", 1'000'000'000'000'000'000);
    unlink((merged_ + "/gone").c_str());
    unlink((merged_ + "/becomes-link").c_str());
    ASSERT_TRUE(succeeded(symlink("same", (merged_ + "/becomes-link").c_str())));
    unlink((merged_ + "/link").c_str());
    ASSERT_TRUE(succeeded(symlink("new-target", (merged_ + "/link").c_str())));
    write(merged_ + "/fresh", "new");
    ASSERT_TRUE(succeeded(mkdir((merged_ + "/directory").c_str(), 0750)));
    // Copied up, and then as it was: no change.
    chmod((merged_ + "/same").c_str(), 0600);
    chmod((merged_ + "/same").c_str(), 0644);
  });
  EXPECT_EQ(at(set, "content").kind, Kind::modified);
  EXPECT_EQ(at(set, "content").fields & kContent, kContent);
  EXPECT_EQ(at(set, "content").before.size, 3U);
  EXPECT_EQ(at(set, "content").after.size, 11U);
  EXPECT_TRUE(at(set, "content").after.digest);
  EXPECT_EQ(at(set, "mode").fields, kMode);
  EXPECT_EQ(at(set, "mode").after.mode, 0755);
  EXPECT_EQ(at(set, "mode").before.digest, at(set, "mode").after.digest);
  EXPECT_EQ(at(set, "owner").fields, kOwner);
  EXPECT_EQ(at(set, "owner").after.uid, 7U);
  EXPECT_EQ(at(set, "owner").after.gid, 8U);
  EXPECT_EQ(at(set, "attribute").fields, kXattrs);
  EXPECT_EQ(at(set, "attribute").after.xattrs, (Xattrs{{"user.x", "y"}}));
  EXPECT_EQ(at(set, "time").fields, kMtime);
  EXPECT_EQ(at(set, "time").noise, "times");
  EXPECT_EQ(at(set, "gone").kind, Kind::deleted);
  EXPECT_EQ(at(set, "gone").before.type, FileType::regular);
  EXPECT_EQ(at(set, "gone").after.type, FileType::none);
  EXPECT_EQ(at(set, "becomes-link").kind, Kind::typeChanged);
  EXPECT_EQ(at(set, "becomes-link").fields & kType, kType);
  EXPECT_EQ(at(set, "link").fields & kTarget, kTarget);
  EXPECT_EQ(at(set, "link").before.target, "old-target");
  EXPECT_EQ(at(set, "link").after.target, "new-target");
  EXPECT_EQ(at(set, "fresh").kind, Kind::added);
  EXPECT_EQ(at(set, "directory").kind, Kind::added);
  EXPECT_EQ(at(set, "directory").after.mode, 0750);
  EXPECT_EQ(find(set, "same"), nullptr);
  EXPECT_EQ(set.totals.added, 2U);
  EXPECT_EQ(set.totals.modified, 6U);
  EXPECT_EQ(set.totals.deleted, 1U);
  EXPECT_EQ(set.totals.typeChanged, 1U);
  EXPECT_EQ(set.totals.noise, 1U);
  EXPECT_EQ(set.totals.addedBytes, 11U + 3U);
  EXPECT_EQ(set.totals.deletedBytes, 3U + 3U + 3U);
  EXPECT_EQ(read(keptLayer() + "/content"), "new content");
}

TEST_F(CollectorTest, SameSizeAndTimeButOtherContent) {
  write(base_ + "/a", "old");
  setMtime(base_ + "/a", 1'000'000'000'000'000'000);
  const auto set = after([&] {
    write(merged_ + "/a", "new");
    setMtime(merged_ + "/a", 1'000'000'000'000'000'000);
  });
  EXPECT_EQ(at(set, "a").fields, kContent);
  EXPECT_NE(at(set, "a").before.digest, at(set, "a").after.digest);
}

TEST_F(CollectorTest, Renames) {
  write(base_ + "/one", "content one");
  write(base_ + "/two", "twice the same");
  write(base_ + "/sub.txt", "twice the same");
  write(base_ + "/empty", "");
  ASSERT_TRUE(succeeded(symlink("text", (base_ + "/l1").c_str())));
  const auto set = after([&] {
    rename((merged_ + "/one").c_str(), (merged_ + "/uno").c_str());
    chmod((merged_ + "/uno").c_str(), 0755);
    mkdir((merged_ + "/d").c_str(), 0755);
    rename((merged_ + "/sub.txt").c_str(), (merged_ + "/d/sub.txt").c_str());
    rename((merged_ + "/two").c_str(), (merged_ + "/a-first").c_str());
    rename((merged_ + "/empty").c_str(), (merged_ + "/void").c_str());
    rename((merged_ + "/l1").c_str(), (merged_ + "/l2").c_str());
  });
  EXPECT_EQ(at(set, "uno").kind, Kind::renamed);
  EXPECT_EQ(at(set, "uno").from, "one");
  EXPECT_EQ(at(set, "uno").fields, kMode);
  EXPECT_EQ(at(set, "uno").before.digest, at(set, "uno").after.digest);
  // The one of the same name, although another comes first.
  EXPECT_EQ(at(set, "d/sub.txt").from, "sub.txt");
  EXPECT_EQ(at(set, "a-first").from, "two");
  EXPECT_EQ(at(set, "void").kind, Kind::added);
  EXPECT_EQ(at(set, "empty").kind, Kind::deleted);
  EXPECT_EQ(at(set, "l2").from, "l1");
  EXPECT_EQ(set.totals.renamed, 4U);
  EXPECT_EQ(set.totals.addedBytes, 0U);
  EXPECT_EQ(set.totals.deletedBytes, 0U);
}

TEST_F(CollectorTest, ADeletedDirectoryIsListedWholeAndKeptAsOneWhiteout) {
  makeDirectories(base_ + "/d/e");
  write(base_ + "/d/x", "1");
  write(base_ + "/d/e/y", std::string("a\0b", 3));
  const auto set = after([&] { removeAll(merged_ + "/d"); });
  ASSERT_EQ(set.changes.size(), 4U);
  EXPECT_EQ(set.changes[0].path, "d");
  EXPECT_EQ(set.changes[1].path, "d/e");
  EXPECT_EQ(set.changes[2].path, "d/e/y");
  EXPECT_TRUE(set.changes[2].binary);
  EXPECT_FALSE(set.changes[3].binary);
  EXPECT_EQ(names(openTop(keptLayer()).get()), std::vector<std::string>{"d"});
}

TEST_F(CollectorTest, AnOpaqueDirectoryIsComparedAndNormalised) {
  makeDirectories(base_ + "/d/e");
  write(base_ + "/d/stays", "1");
  setMtime(base_ + "/d/stays", 1'000'000'000'000'000'000);
  write(base_ + "/d/goes", "1");
  write(base_ + "/d/e/f", "1");
  const auto set = after([&] {
    removeAll(merged_ + "/d");
    makeDirectories(merged_ + "/d");
    write(merged_ + "/d/stays", "1");
    setMtime(merged_ + "/d/stays", 1'000'000'000'000'000'000);
    write(merged_ + "/d/comes", "2");
  });
  char value[8];
  EXPECT_EQ(lgetxattr((upper_ + "/d").c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
  EXPECT_EQ(find(set, "d/stays"), nullptr);
  EXPECT_EQ(at(set, "d/goes").kind, Kind::deleted);
  EXPECT_EQ(at(set, "d/e").kind, Kind::deleted);
  EXPECT_EQ(at(set, "d/e/f").kind, Kind::deleted);
  EXPECT_EQ(at(set, "d/comes").kind, Kind::added);
  EXPECT_LT(lgetxattr((keptLayer() + "/d").c_str(), "trusted.overlay.opaque", value, sizeof value), 0);
  EXPECT_EQ(names(openTop(keptLayer() + "/d").get()), (std::vector<std::string>{"comes", "e", "goes"}));
}

TEST_F(CollectorTest, OwnersAreTranslatedTwice) {
  write(base_ + "/mine", "1");
  ASSERT_TRUE(succeeded(chown((base_ + "/mine").c_str(), 501, 502)));
  setMtime(base_ + "/mine", 5'000'000'000);
  upper_ = fresh("upper");
  const auto make = [&](const char* name, uint32_t uid, uint32_t gid) {
    const std::string path = upper_ + "/" + name;
    write(path, "1");
    ASSERT_TRUE(succeeded(chown(path.c_str(), uid, gid)));
    setMtime(path, 5'000'000'000);
  };
  make("mine", 101'000, 102'000);  // the run user: as it was
  make("root", 100'000, 100'000);
  make("other", 100'033, 100'034);
  make("foreign", 5, 5);
  input_.ids = {100'000, 65'536, 1000, 2000, 501, 502};
  const auto set = collectLayer(upper_);
  EXPECT_EQ(find(set, "mine"), nullptr);
  EXPECT_EQ(at(set, "root").after.uid, 0U);
  EXPECT_EQ(at(set, "other").after.uid, 33U);
  EXPECT_EQ(at(set, "other").after.gid, 34U);
  EXPECT_EQ(at(set, "foreign").after.uid, 65534U);
  ASSERT_EQ(set.notes.size(), 1U);
  EXPECT_NE(set.notes[0].find("outside of the zone's ids"), std::string::npos);
  struct stat st {};
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/other").c_str(), &st)));
  EXPECT_EQ(st.st_uid, 33U);
  EXPECT_EQ(set.runUid, 1000U);
  EXPECT_EQ(set.base.uid, 501U);
}

TEST_F(CollectorTest, TheRunUsersFilesAreTheOwners) {
  upper_ = fresh("upper");
  write(upper_ + "/a", "1");
  ASSERT_TRUE(succeeded(chown((upper_ + "/a").c_str(), 101'000, 101'000)));
  input_.ids = {100'000, 65'536, 1000, 1000, 501, 502};
  const auto set = collectLayer(upper_);
  EXPECT_EQ(at(set, "a").after.uid, 501U);
  EXPECT_EQ(at(set, "a").after.gid, 502U);
  struct stat st {};
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/a").c_str(), &st)));
  EXPECT_EQ(st.st_uid, 1000U);
}

TEST_F(CollectorTest, WhatRunsCodeIsProtectedEvenAmongNoise) {
  input_.protectedPatterns = {"Makefile"};
  const auto set = after([&] {
    makeDirectories(merged_ + "/.git/hooks");
    write(merged_ + "/.git/hooks/pre-commit", "#!/bin/sh\n", 0755);
    makeDirectories(merged_ + "/__pycache__");
    write(merged_ + "/__pycache__/a.pyc", "x");
    write(merged_ + "/__pycache__/suid", "x");
    chmod((merged_ + "/__pycache__/suid").c_str(), 04755);
    write(merged_ + "/capable", "x");
    // cap_net_raw=ep, revision 2
    changes::set(merged_ + "/capable", "security.capability", std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    write(merged_ + "/Makefile", "all:\n");
    write(merged_ + "/plain", "x");
  });
  EXPECT_EQ(at(set, ".git/hooks/pre-commit").reason, "git hook");
  EXPECT_EQ(at(set, "__pycache__/a.pyc").noise, "__pycache__");
  EXPECT_EQ(at(set, "__pycache__/suid").reason, "set-user-ID");
  EXPECT_EQ(at(set, "__pycache__/suid").noise, "");
  EXPECT_EQ(at(set, "capable").reason, "file capability");
  EXPECT_EQ(at(set, "Makefile").reason, "build file");
  EXPECT_EQ(at(set, "plain").reason, "");
  EXPECT_EQ(set.totals.protectedCount, 6U);  // .git and .git/hooks too
  EXPECT_EQ(set.totals.noise, 2U);
  ASSERT_EQ(set.noise.size(), 1U);
  EXPECT_EQ(set.noise[0].name, "__pycache__");
  EXPECT_EQ(set.noise[0].changes, 2U);
  EXPECT_EQ(set.noise[0].bytes, 1U);
}

TEST_F(CollectorTest, ACapabilityOfTheZonesRootIsOneOfTheHosts) {
  upper_ = fresh("upper");
  write(upper_ + "/f", "x");
  // Revision 3, bound to root of the user namespace whose root is 100000.
  std::string bytes("\1\0\0\3\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xA0\x86\1\0", 24);
  set(upper_ + "/f", "security.capability", bytes);
  input_.ids = {100'000, 65'536, 0, 0, 0, 0};
  const auto found = collectLayer(upper_);
  ASSERT_EQ(at(found, "f").after.xattrs.size(), 1U);
  EXPECT_EQ(at(found, "f").after.xattrs[0].second, std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
}

TEST_F(CollectorTest, WhiteoutsAsAttributesAreUnderstood) {
  write(base_ + "/a", "1");
  upper_ = fresh("upper");
  write(upper_ + "/a", "");
  set(upper_ + "/a", "trusted.overlay.whiteout", "y");
  EXPECT_EQ(at(collectLayer(upper_), "a").kind, Kind::deleted);
}

TEST_F(CollectorTest, WhatIsNotUnderstoodIsRefused) {
  for (const auto key : {"trusted.overlay.redirect", "trusted.overlay.metacopy", "trusted.overlay.of-tomorrow"}) {
    upper_ = fresh("upper");
    write(upper_ + "/a", "1");
    set(upper_ + "/a", key, "y");
    try {
      collectLayer(upper_);
      FAIL() << key << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::unsupported);
      EXPECT_NE(e.text().find(key), std::string::npos) << e.text();
    }
  }
  upper_ = fresh("upper");
  makeDirectories(upper_ + "/d");
  set(upper_ + "/d", "trusted.overlay.opaque", "z");
  EXPECT_THROW(collectLayer(upper_), Error);
}

TEST_F(CollectorTest, SparseFilesStaySparse) {
  constexpr off_t kSize = 8LL << 30;
  input_.limits.holeBytes = 1 << 20;
  const auto set = after([&] {
    const UniqueFd fd(open((merged_ + "/big").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(pwrite(fd.get(), "end", 3, kSize - 3), 3);
    write(merged_ + "/small", "");
    ASSERT_TRUE(succeeded(truncate((merged_ + "/small").c_str(), 1 << 20)));
  });
  EXPECT_EQ(at(set, "big").after.size, static_cast<uint64_t>(kSize));
  EXPECT_FALSE(at(set, "big").after.digest);
  EXPECT_TRUE(at(set, "big").binary);
  struct stat st {};
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/big").c_str(), &st)));
  EXPECT_EQ(st.st_size, kSize);
  EXPECT_LT(st.st_blocks, 1024);
  char tail[4] = {};
  const UniqueFd fd(open((keptLayer() + "/big").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(pread(fd.get(), tail, 3, kSize - 3), 3);
  EXPECT_STREQ(tail, "end");
  // What a hole reads as is digested within the limit.
  const std::string zeros = sha256(std::string(1 << 20, '\0'));
  std::string hex = "sha256:";
  const Digest digest = at(set, "small").after.digest.value();
  for (const unsigned char byte : digest) {
    char two[3];
    snprintf(two, sizeof two, "%02x", byte);
    hex += two;
  }
  EXPECT_EQ(hex, zeros);
}

TEST_F(CollectorTest, HardLinksStayLinks) {
  const auto set = after([&] {
    write(merged_ + "/a", "shared");
    makeDirectories(merged_ + "/d");
    ASSERT_TRUE(succeeded(link((merged_ + "/a").c_str(), (merged_ + "/d/b").c_str())));
  });
  EXPECT_EQ(at(set, "a").after.digest, at(set, "d/b").after.digest);
  struct stat a {
  }, b{};
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/a").c_str(), &a)));
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/d/b").c_str(), &b)));
  EXPECT_EQ(a.st_ino, b.st_ino);
}

// However many files with several names there are: each is kept once.
TEST_F(CollectorTest, AFileWithManyNamesIsKeptOnce) {
  constexpr uint64_t kLarge = 1 << 20;
  const auto make = [&] {
    upper_ = fresh("upper");
    for (const char* name : {"/d", "/d/e", "/n"}) makeDirectories(upper_ + name);
    for (int i = 0; i < 300; ++i) {
      write(upper_ + "/d/e/l" + std::to_string(i), "two names");
      ASSERT_TRUE(succeeded(link((upper_ + "/d/e/l" + std::to_string(i)).c_str(), (upper_ + "/d/m" + std::to_string(i)).c_str())));
    }
    write(upper_ + "/d/e/z", std::string(kLarge, 'z'));
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(succeeded(link((upper_ + "/d/e/z").c_str(), (upper_ + "/n/z" + std::to_string(i)).c_str())));
  };
  make();
  const auto set = collectLayer(upper_);
  EXPECT_TRUE(set.kept);
  EXPECT_LT(set.keptBytes, 5 * kLarge) << "600 entries and one large file";
  const auto inode = [&](const std::string& name) {
    struct stat st {};
    EXPECT_TRUE(succeeded(stat((keptLayer() + name).c_str(), &st))) << name;
    return st.st_ino;
  };
  EXPECT_EQ(inode("/d/e/z"), inode("/n/z0"));
  EXPECT_EQ(inode("/d/e/z"), inode("/n/z299"));
  for (const char* number : {"0", "299"}) EXPECT_EQ(inode(std::string("/d/e/l") + number), inode(std::string("/d/m") + number));

  // … and once in the set of a task that went on from there.
  const std::string first = destination_;
  upper_ = fresh("upper2");
  write(upper_ + "/new", "x");
  const auto next = collectLayer(upper_, first + "/layer");
  EXPECT_TRUE(next.kept);
  EXPECT_LT(next.keptBytes, 5 * kLarge);
}

TEST_F(CollectorTest, BeyondTheListTotalsAreExactAndNothingIsKept) {
  input_.limits.changes = 10;
  const auto set = after([&] {
    for (int i = 0; i < 25; ++i) write(merged_ + "/f" + std::to_string(i), "x");
  });
  EXPECT_EQ(set.changes.size(), 10U);
  EXPECT_TRUE(set.truncated);
  EXPECT_EQ(set.totals.added, 25U);
  EXPECT_EQ(set.totals.addedBytes, 25U);
  EXPECT_FALSE(set.kept);
  EXPECT_EQ(set.keptNote, "there are more than 10 changes");
  EXPECT_TRUE(names(openTop(destination_).get()).empty());
}

TEST_F(CollectorTest, BeyondTheSizeItIsListedWithDigestsButNotKept) {
  input_.limits.layerBytes = 100'000;
  const auto set = after([&] {
    for (int i = 0; i < 4; ++i) write(merged_ + "/f" + std::to_string(i), std::string(50'000, 'x'));
  });
  EXPECT_EQ(set.totals.added, 4U);
  for (const auto& c : set.changes) EXPECT_TRUE(c.after.digest) << c.path;
  EXPECT_FALSE(set.kept);
  EXPECT_FALSE(set.followable);
  EXPECT_EQ(set.keptBytes, 0U);
  EXPECT_NE(set.keptNote.find("kept size"), std::string::npos);
  EXPECT_TRUE(names(openTop(destination_).get()).empty());
}

// What a thread of its own makes.
TEST_F(CollectorTest, ManyFilesAreKeptAsTheyAre) {
  const auto set = after([&] {
    for (int i = 0; i < 700; ++i) {
      const std::string directory = merged_ + "/d" + std::to_string(i / 100);
      makeDirectories(directory);
      write(directory + "/f" + std::to_string(i), std::string(static_cast<size_t>(i) * 100, 'x'), i % 2 == 0 ? 0640 : 04755);
      setMtime(directory + "/f" + std::to_string(i), 1'000'000'000LL * i);
    }
    for (int i = 0; i < 7; ++i) setMtime(merged_ + "/d" + std::to_string(i), 2'000'000'000LL * i);
  });
  ASSERT_TRUE(set.kept) << set.keptNote;
  EXPECT_EQ(difference(snapshot(upper_), snapshot(keptLayer())), "");
  uint64_t bytes = 0;
  for (const auto& c : set.changes) bytes += c.after.type == FileType::regular ? c.after.size : 0;
  EXPECT_GE(set.keptBytes, bytes);
}

TEST_F(CollectorTest, ManyFilesBeyondTheSizeAreListedButNotKept) {
  input_.limits.layerBytes = 1'000'000;
  const auto set = after([&] {
    for (int i = 0; i < 300; ++i) write(merged_ + "/f" + std::to_string(i), std::string(10'000, 'x'));
  });
  EXPECT_EQ(set.totals.added, 300U);
  for (const auto& c : set.changes) EXPECT_TRUE(c.after.digest) << c.path;
  EXPECT_FALSE(set.kept);
  EXPECT_NE(set.keptNote.find("kept size"), std::string::npos) << set.keptNote;
  EXPECT_TRUE(names(openTop(destination_).get()).empty());
}

TEST_F(CollectorTest, AStateDirectoryThatGetsFullWithManyFilesIsToldAndLeavesNothing) {
  upper_ = fresh("upper");
  for (int i = 0; i < 400; ++i) write(upper_ + "/f" + std::to_string(i), std::string(4'000, 'x'));
  destination_ = fresh("set");
  ASSERT_TRUE(succeeded(mount("tmpfs", destination_.c_str(), "tmpfs", 0, "size=1m"))) << strerror(errno);
  const UniqueFd up = openTop(upper_), base = openTop(base_), destination = openTop(destination_);
  input_.upper = up.get();
  input_.base = base.get();
  input_.destination = destination.get();
  const auto set = collect(input_);
  EXPECT_FALSE(set.kept);
  EXPECT_NE(set.keptNote.find("full"), std::string::npos) << set.keptNote;
  EXPECT_EQ(set.totals.added, 400U);
  for (const auto& c : set.changes) EXPECT_TRUE(c.after.digest) << c.path;
  EXPECT_TRUE(names(destination.get()).empty());
  ASSERT_EQ(umount2(destination_.c_str(), MNT_DETACH), 0);
}

TEST_F(CollectorTest, AFullStateDirectoryIsToldAndLeavesNothing) {
  upper_ = fresh("upper");
  write(upper_ + "/a", std::string(400'000, 'x'));
  destination_ = fresh("set");
  ASSERT_TRUE(succeeded(mount("tmpfs", destination_.c_str(), "tmpfs", 0, "size=128k"))) << strerror(errno);
  const UniqueFd up = openTop(upper_), base = openTop(base_), destination = openTop(destination_);
  input_.upper = up.get();
  input_.base = base.get();
  input_.destination = destination.get();
  const auto set = collect(input_);
  EXPECT_FALSE(set.kept);
  EXPECT_NE(set.keptNote.find("No space left"), std::string::npos) << set.keptNote;
  EXPECT_EQ(set.totals.added, 1U);
  EXPECT_TRUE(names(destination.get()).empty());
  EXPECT_TRUE(succeeded(umount2(destination_.c_str(), MNT_DETACH)));
}

TEST_F(CollectorTest, TooDeepIsNotLookedAtAndNotKept) {
  input_.limits.depth = 3;
  upper_ = fresh("upper");
  makeDirectories(upper_ + "/1/2/3/4/5");
  const auto set = collectLayer(upper_);
  EXPECT_EQ(set.totals.added, 3U);
  EXPECT_FALSE(set.kept);
  EXPECT_EQ(set.keptNote, "a directory is deeper than 3 levels");
}

// A path that no system call takes cannot be applied; and a hundred thousand of them would be gigabytes of the daemon's memory.
TEST_F(CollectorTest, ALongerPathThanTheKernelTakesIsNotLookedAt) {
  upper_ = fresh("upper");
  UniqueFd at = openTop(upper_);
  const std::string name(250, 'n');
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(succeeded(mkdirat(at.get(), name.c_str(), 0755)));
    at = openDirectory(at.get(), name);
    ASSERT_TRUE(at);
  }
  const auto set = collectLayer(upper_);
  EXPECT_EQ(set.totals.added, 16U);
  EXPECT_FALSE(set.kept);
  EXPECT_EQ(set.keptNote, "a path is longer than 4095 bytes");
}

TEST_F(CollectorTest, AttributesCountAsTextOfTheList) {
  input_.limits.textBytes = 10'000;
  upper_ = fresh("upper");
  for (int i = 0; i < 5; ++i) {
    const std::string path = upper_ + "/" + std::to_string(i);
    write(path, "");
    set(path, "user.bomb", std::string(3'000, 'x'));
  }
  const auto found = collectLayer(upper_);
  EXPECT_EQ(found.totals.added, 5U);
  EXPECT_EQ(found.changes.size(), 3U);
  EXPECT_TRUE(found.truncated);
  EXPECT_FALSE(found.kept);
  EXPECT_EQ(found.keptNote, "paths and attributes of the changes have more than 10000 bytes");
}

// Holes cost a task nothing: digesting each as zeros would take hours for a thousand files.
TEST_F(CollectorTest, HolesOfAllFilesTogetherAreBounded) {
  input_.limits.holeBytes = 1 << 20;
  input_.limits.allHoleBytes = 2 << 20;
  const auto set = after([&] {
    for (const char* name : {"a", "b", "c", "d"}) {
      write(merged_ + "/" + name, "");
      ASSERT_TRUE(succeeded(truncate((merged_ + "/" + name).c_str(), 1 << 20)));
    }
    write(merged_ + "/e", "no hole");
  });
  EXPECT_TRUE(at(set, "a").after.digest && at(set, "b").after.digest);
  EXPECT_FALSE(at(set, "c").after.digest || at(set, "d").after.digest);
  EXPECT_TRUE(at(set, "e").after.digest);
}

// One large file with many names is read once, also when the layer is not kept any more.
TEST_F(CollectorTest, AFileWithManyNamesIsReadOnce) {
  constexpr int kNames = 400;
  const std::string content(8 << 20, 'x');
  const auto make = [&](int names) {
    upper_ = fresh("upper");
    for (int decoy = 0; decoy < 300; ++decoy) {
      const std::string path = upper_ + "/a" + std::to_string(decoy);
      write(path, "d");
      ASSERT_TRUE(succeeded(link(path.c_str(), (path + "-again").c_str())));
    }
    write(upper_ + "/b", content);
    for (int i = 0; i < names; ++i) ASSERT_TRUE(succeeded(link((upper_ + "/b").c_str(), (upper_ + "/b" + std::to_string(i)).c_str())));
  };
  const auto spent = [&] {
    struct timespec now {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return nanoseconds(now);
  };
  input_.limits.layerBytes = 1 << 20;
  make(1);
  int64_t begin = spent();
  collectLayer(upper_);
  const int64_t once = spent() - begin;
  make(kNames);
  begin = spent();
  const auto found = collectLayer(upper_);
  EXPECT_LT(spent() - begin, 40 * once) << "time of a thread, " << once << " ns for one name";
  EXPECT_EQ(at(found, "b").after.digest, at(found, "b7").after.digest);
  EXPECT_TRUE(at(found, "b7").after.digest);
}

// --- access control lists

std::string aclOf(uint32_t user, uint32_t group) {
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  constexpr uint32_t kNone = UINT32_MAX;
  const Entry entries[] = {{1, 6, kNone}, {2, 7, user}, {4, 4, kNone}, {8, 5, group}, {16, 7, kNone}, {32, 4, kNone}};
  std::string out("\2\0\0\0", 4);
  return out.append(reinterpret_cast<const char*>(entries), sizeof entries);
}
const std::string* attribute(const FileState& state, const std::string& key) {
  for (const auto& [name, value] : state.xattrs)
    if (name == key) return &value;
  return nullptr;
}
constexpr const char* kAccess = "system.posix_acl_access";

TEST_F(CollectorTest, AccessControlListsAreTranslatedAsOwnersAre) {
  input_.ids = {100'000, 65'536, 1000, 2000, 501, 502};
  upper_ = fresh("upper");
  write(upper_ + "/listed", "1");
  makeDirectories(upper_ + "/dir");
  set(upper_ + "/listed", kAccess, aclOf(101'000, 100'034));
  set(upper_ + "/dir", "system.posix_acl_default", aclOf(100'033, 102'000));
  const auto found = collectLayer(upper_);
  const std::string* access = attribute(at(found, "listed").after, kAccess);
  ASSERT_NE(access, nullptr);
  EXPECT_EQ(*access, aclOf(501, 34));
  const std::string* inherited = attribute(at(found, "dir").after, "system.posix_acl_default");
  ASSERT_NE(inherited, nullptr);
  EXPECT_EQ(*inherited, aclOf(33, 502));
  EXPECT_TRUE(found.notes.empty() || found.notes[0].find("access control") == std::string::npos);
  EXPECT_TRUE(found.followable) << found.followableNote;
  char kept[256];
  const ssize_t size = lgetxattr((keptLayer() + "/listed").c_str(), kAccess, kept, sizeof kept);
  ASSERT_GT(size, 0);
  EXPECT_EQ(std::string(kept, static_cast<size_t>(size)), aclOf(1000, 34)) << "the layer has the zone's ids";
}

// Of the host's list that names somebody unknown to the zone, the task saw nobody: no change of it is told, or made.
TEST_F(CollectorTest, AListOfStrangersStaysTheHosts) {
  input_.ids = {100'000, 65'536, 1000, 2000, 501, 502};
  write(base_ + "/file", "1");
  set(base_ + "/file", kAccess, aclOf(4242, 4242));
  upper_ = fresh("upper");
  write(upper_ + "/file", "2", 0674);
  set(upper_ + "/file", kAccess, aclOf(5, 5));
  const auto found = collectLayer(upper_);
  const Change& change = at(found, "file");
  EXPECT_EQ(change.fields & kXattrs, 0);
  const std::string* access = attribute(change.after, kAccess);
  ASSERT_NE(access, nullptr);
  EXPECT_EQ(*access, aclOf(4242, 4242));
  EXPECT_NE(std::find_if(found.notes.begin(), found.notes.end(),
                         [](const auto& note) {
                           return note.find("access control lists") != std::string::npos && note.find("file") != std::string::npos;
                         }),
            found.notes.end());
}

// A scratch that takes no attributes (tmpfs before Linux 6.6) must not look as if the task had removed the host's: ramfs stands for it.
TEST_F(CollectorTest, AttributesThatTheScratchCannotHoldStayTheHosts) {
  write(base_ + "/file", "1");
  set(base_ + "/file", "user.note", "host's");
  upper_ = fresh("upper");
  ASSERT_TRUE(succeeded(mount("rauha-test", upper_.c_str(), "ramfs", 0, nullptr)));
  ASSERT_NE(lsetxattr(upper_.c_str(), "user.note", "x", 1, 0), 0) << "control: it takes none";
  write(upper_ + "/file", "2");
  const auto found = collectLayer(upper_);
  ASSERT_TRUE(succeeded(umount(upper_.c_str())));
  EXPECT_EQ(at(found, "file").fields & kXattrs, 0);
  EXPECT_NE(attribute(at(found, "file").after, "user.note"), nullptr);
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_NE(found.notes[0].find("holds no such attributes"), std::string::npos);
}

TEST_F(CollectorTest, CanBeCancelled) {
  upper_ = fresh("upper");
  for (int i = 0; i < 600; ++i) write(upper_ + "/" + std::to_string(i), "");
  input_.cancelled = [] { return true; };
  try {
    collectLayer(upper_);
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::cancelled);
  }
}

TEST_F(CollectorTest, SocketsAreListedOnlyAndHideWhatTheyReplaced) {
  write(base_ + "/a", "1");
  const auto set = after([&] {
    unlink((merged_ + "/a").c_str());
    ASSERT_TRUE(succeeded(mkfifo((merged_ + "/fifo").c_str(), 0600)));
    socketAt(merged_ + "/a");
  });
  EXPECT_EQ(at(set, "a").kind, Kind::typeChanged);
  EXPECT_EQ(at(set, "a").after.type, FileType::socket);
  EXPECT_EQ(at(set, "fifo").after.type, FileType::fifo);
  ASSERT_EQ(set.notes.size(), 1U);
  mountReadOnly({keptLayer(), base_});
  EXPECT_EQ(names(openTop(merged_).get()), std::vector<std::string>{"fifo"});
}

TEST_F(CollectorTest, LinksOfTheBaseAreNotFollowed) {
  const std::string outside = fresh("outside");
  write(outside + "/secret", "outside");
  ASSERT_TRUE(succeeded(symlink(outside.c_str(), (base_ + "/d").c_str())));
  upper_ = fresh("upper");
  makeDirectories(upper_ + "/d");
  write(upper_ + "/d/secret", "inside");
  const auto set = collectLayer(upper_);
  EXPECT_EQ(at(set, "d").kind, Kind::typeChanged);
  EXPECT_EQ(at(set, "d/secret").kind, Kind::added);
  EXPECT_EQ(read(outside + "/secret"), "outside");
}

TEST_F(CollectorTest, WhatIsMountedInsideTheBaseIsNotPartOfIt) {
  makeDirectories(base_ + "/sub");
  write(base_ + "/sub/below", "1");
  ASSERT_TRUE(succeeded(mount("tmpfs", (base_ + "/sub").c_str(), "tmpfs", 0, nullptr)));
  write(base_ + "/sub/above", "1");
  const auto set = after([&] { removeAll(merged_ + "/sub"); });
  EXPECT_EQ(at(set, "sub/below").kind, Kind::deleted);
  EXPECT_EQ(find(set, "sub/above"), nullptr);
  EXPECT_TRUE(set.notes.empty());
  EXPECT_TRUE(succeeded(umount2((base_ + "/sub").c_str(), MNT_DETACH)));
}

class HostTreeTest : public CollectorTest {
 protected:
  // From here on the base's changes are those that happen meanwhile.
  void start() {
    const int64_t last = realNs();
    while (realNs() < last + 50'000'000) usleep(1000);  // beyond what the kernel's clock for change times may lag
    input_.startedNs = realNs();
  }
};

TEST_F(HostTreeTest, ChangesOfTheHostAreFound) {
  for (const auto name : {"both", "host", "task", "vanishes"}) write(base_ + "/" + name, "1");
  makeDirectories(base_ + "/quiet");
  start();
  const auto set = after([&] {
    for (const auto name : {"both", "task", "vanishes"}) write(merged_ + "/" + name, "22");
    write(base_ + "/both", "333");
    write(base_ + "/host", "333");
    unlink((base_ + "/vanishes").c_str());
  });
  EXPECT_EQ(set.hostTree, HostTree::changed);
  EXPECT_EQ(set.hostChanges, (std::vector<std::string>{".", "both", "host"}));
  EXPECT_TRUE(at(set, "both").hostChanged);
  EXPECT_FALSE(at(set, "task").hostChanged);
  EXPECT_TRUE(at(set, "vanishes").hostChanged);
  EXPECT_EQ(at(set, "vanishes").kind, Kind::added);
}

// `mv` touches nothing in the directory that it moves.
TEST_F(HostTreeTest, WhatCameWithADirectoryIsNotTheTasks) {
  makeDirectories(base_ + "/src");
  makeDirectories(base_ + "/thesis/deep");
  makeDirectories(base_ + "/other");
  for (const auto name : {"src/old", "thesis/deep/text", "other/s", "other/t"})
    write(base_ + "/" + name, std::string("content of ") + name);
  for (const auto name : {"src/s", "src/t"}) write(base_ + "/" + name, "s");
  start();
  const auto moved = after([&] {
    removeAll(merged_ + "/src");
    ASSERT_TRUE(succeeded(rename((base_ + "/thesis").c_str(), (base_ + "/src/thesis").c_str())));
    makeDirectories(merged_ + "/src");
    write(merged_ + "/src/n", "new");
  });
  EXPECT_TRUE(at(moved, "src/thesis/deep/text").hostChanged);
  start();
  const auto replaced = after([&] {
    write(merged_ + "/src/s", "ss");
    unlink((merged_ + "/src/t").c_str());
    ASSERT_TRUE(succeeded(rename((base_ + "/src").c_str(), (base_ + "/away").c_str())));
    ASSERT_TRUE(succeeded(rename((base_ + "/other").c_str(), (base_ + "/src").c_str())));
  });
  EXPECT_TRUE(at(replaced, "src/s").hostChanged);
  EXPECT_TRUE(at(replaced, "src/t").hostChanged);
}

TEST_F(HostTreeTest, ADirectoryThatOnlyGotMoreIsTheSame) {
  makeDirectories(base_ + "/src/deep");
  for (const auto name : {"src/edited", "src/gone", "src/deep/edited", "src/hosts"}) write(base_ + "/" + name, name);
  start();
  const auto set = after([&] {
    write(merged_ + "/src/edited", "ss");
    write(merged_ + "/src/deep/edited", "ss");
    unlink((merged_ + "/src/gone").c_str());
    write(base_ + "/src/new", "of the host");
    write(base_ + "/src/deep/new", "of the host");
    ASSERT_TRUE(succeeded(rename((base_ + "/src/new").c_str(), (base_ + "/src/hosts").c_str())));
  });
  EXPECT_EQ(set.hostTree, HostTree::changed);
  for (const auto name : {"src/edited", "src/deep/edited", "src/gone"}) EXPECT_FALSE(at(set, name).hostChanged) << name;
}

// An index of the tree's own making, put into its place.
TEST_F(CollectorTest, AnIndexThatWasRenamedIsLookedAt) {
  makeDirectories(base_ + "/.git");
  write(base_ + "/prepared", "no index");
  const auto set = after([&] { ASSERT_TRUE(succeeded(rename((merged_ + "/prepared").c_str(), (merged_ + "/.git/index").c_str()))); });
  EXPECT_EQ(at(set, ".git/index").kind, Kind::renamed);
  EXPECT_EQ(at(set, ".git/index").reason, "git index that is not understood");
}

// The directory's time is that of applying what the predecessor did.
TEST_F(HostTreeTest, WhatAPredecessorChangedIsNoMove) {
  makeDirectories(base_ + "/src/sub");
  for (const auto name : {"src/a", "src/b", "src/sub/c"}) write(base_ + "/" + name, name);
  start();
  after([&] { unlink((merged_ + "/src/a").c_str()); });
  const std::string first = keptLayer();
  unlink((base_ + "/src/a").c_str());
  const auto upper = fresh("upper");
  mountOverlay({first, base_}, upper);
  removeAll(merged_ + "/src");
  unmount();
  const auto set = collectLayer(upper, first);
  for (const auto name : {"src/b", "src/sub/c"}) EXPECT_FALSE(at(set, name).hostChanged) << name;
}

// What the host only refreshed, meanwhile or not, is known to be what the task found; without the file that was held, it is not.
TEST_F(HostTreeTest, AnIndexIsTakenByWhatIsStaged) {
  rauha::testing::Index index;
  index.entries = {{"README"}, {"src/a.c"}};
  rauha::testing::Index refreshed = index, staged = index;
  refreshed.entries[0].looked = 7;
  staged.entries.push_back({"src/new.c"});
  makeDirectories(base_ + "/.git");
  for (const bool meanwhile : {false, true}) {
    for (const bool isHeld : {false, true}) {
      write(base_ + "/.git/index", index.bytes());
      const UniqueFd held = openRegularBeneath(openTop(base_).get(), kTopIndex);
      input_.baseIndex = isHeld ? held.get() : -1;
      start();
      const auto set = after([&] {
        write(merged_ + "/.git/index", staged.bytes());
        if (!meanwhile) return;
        write(base_ + "/.git/index.lock", refreshed.bytes());
        ASSERT_TRUE(succeeded(rename((base_ + "/.git/index.lock").c_str(), (base_ + "/.git/index").c_str())));
      });
      const auto& change = at(set, ".git/index");
      EXPECT_EQ(change.hostChanged, meanwhile);
      const bool known = !meanwhile || isHeld;
      EXPECT_EQ(change.before.entries, known ? gitIndexEntries(index.bytes()) : "") << meanwhile << isHeld;
      EXPECT_EQ(change.after.entries, known ? gitIndexEntries(staged.bytes()) : "");
    }
  }
}

// What is renamed and changed bears the mark of the host's file that it was copied from, as one does whose host's file vanished.
TEST_F(HostTreeTest, ARenameOfTheTasksIsNoChangeOfTheHost) {
  write(base_ + "/a", "1");
  start();
  const auto set = after([&] {
    ASSERT_TRUE(succeeded(rename((merged_ + "/a").c_str(), (merged_ + "/b").c_str())));
    write(merged_ + "/b", "other content");
  });
  EXPECT_EQ(at(set, "b").kind, Kind::added);
  EXPECT_FALSE(at(set, "b").hostChanged);
  EXPECT_EQ(set.hostTree, HostTree::unchanged);
}

TEST_F(HostTreeTest, WhatTheTaskRenamedTheHostDidNotTake) {
  for (const auto name : {"moved", "edited", "third"}) write(base_ + "/" + name, std::string("content of ") + name);
  start();
  const auto set = after([&] {
    rename((merged_ + "/moved").c_str(), (merged_ + "/new").c_str());
    rename((merged_ + "/edited").c_str(), (merged_ + "/other").c_str());
    write(merged_ + "/other", "something else");
    unlink((merged_ + "/third").c_str());
  });
  EXPECT_EQ(set.hostTree, HostTree::unchanged);
  EXPECT_EQ(at(set, "new").kind, Kind::renamed);
  EXPECT_FALSE(at(set, "new").hostChanged);
  EXPECT_EQ(at(set, "other").kind, Kind::added);
  EXPECT_FALSE(at(set, "other").hostChanged);
}

TEST_F(CollectorTest, WhatLeadsOutOrMakesARepositoryIsProtected) {
  const auto set = after([&] {
    EXPECT_EQ(symlink("/root/.bashrc", (merged_ + "/out.log").c_str()), 0);
    EXPECT_EQ(symlink("inside", (merged_ + "/in.log").c_str()), 0);
    for (const auto name : {"docs/objects", "docs/refs"}) makeDirectories(merged_ + "/" + name);
    write(merged_ + "/docs/HEAD", "ref: refs/heads/main\n");
    write(merged_ + "/docs/config", "[core]\n\tfsmonitor = false\n");
  });
  EXPECT_EQ(at(set, "out.log").reason, "link out of the tree");
  EXPECT_EQ(at(set, "in.log").reason, "");
  EXPECT_EQ(at(set, "docs/config").reason, "git configuration");
  EXPECT_EQ(at(set, "docs/HEAD").reason, "git repository");
  EXPECT_EQ(set.totals.protectedCount, 5u);
}

TEST_F(CollectorTest, TheHostsHooksPathIsProtected) {
  makeDirectories(base_ + "/.git");
  makeDirectories(base_ + "/ci/steps");
  write(base_ + "/.git/config", "[core]\n\thooksPath = ci/steps\n");
  const auto set = after([&] {
    write(merged_ + "/ci/steps/pre-commit", "#!/bin/sh\n", 0755);
    write(merged_ + "/ci/other", "x");
  });
  EXPECT_EQ(at(set, "ci/steps/pre-commit").reason, "git hook");
  EXPECT_EQ(at(set, "ci/other").reason, "");
}

TEST_F(CollectorTest, ALinkAboveAProtectedPathIsProtected) {
  input_.protectedPatterns = {"conf/build/rules"};
  for (const auto name : {".git/hooks", ".git/info", "tools/hooks", "scripts", "conf/build"}) makeDirectories(base_ + "/" + name);
  write(base_ + "/.git/config", "[core]\n\thooksPath = tools/hooks\n");
  write(base_ + "/scripts/pre-push.sh", "#!/bin/sh\n");
  ASSERT_TRUE(succeeded(symlink("../../scripts/pre-push.sh", (base_ + "/tools/hooks/pre-push").c_str())));
  const auto set = after([&] {
    for (const auto name : {"t2/hooks", "plain"}) makeDirectories(merged_ + "/" + name);
    write(merged_ + "/scripts/pre-push.sh", "#!/bin/sh\nrun\n");
    for (const auto name : {"tools", ".git/info", "conf", ".github", "other"}) {
      if (std::string_view(name) != ".github" && std::string_view(name) != "other") removeAll(merged_ + "/" + name);
      ASSERT_TRUE(succeeded(symlink("t2", (merged_ + "/" + name).c_str())));
    }
  });
  EXPECT_EQ(at(set, "tools").reason, "git hook");
  EXPECT_EQ(at(set, "scripts/pre-push.sh").reason, "git hook");
  EXPECT_NE(at(set, ".git/info").reason, "");
  EXPECT_EQ(at(set, "conf").reason, "build file");
  EXPECT_EQ(at(set, ".github").reason, "continuous integration");
  EXPECT_EQ(at(set, "other").reason, "");
  EXPECT_EQ(at(set, "t2/hooks").reason, "");
}

TEST_F(CollectorTest, WhatEverybodyMayWriteIsProtected) {
  write(base_ + "/old", "x");
  write(base_ + "/open", "x");
  chmod((base_ + "/open").c_str(), 0666);
  const auto set = after([&] {
    for (const auto name : {"new", "open", "old", "plain"}) write(merged_ + "/" + name, "y");
    makeDirectories(merged_ + "/directory");
    for (const auto name : {"new", "old", "directory"}) chmod((merged_ + "/" + name).c_str(), 0777);
    ASSERT_TRUE(succeeded(symlink("new", (merged_ + "/link").c_str())));
  });
  for (const auto name : {"new", "old", "directory"}) EXPECT_EQ(at(set, name).reason, "writable by everybody") << name;
  for (const auto name : {"open", "plain", "link"}) EXPECT_EQ(at(set, name).reason, "") << name;
}

TEST_F(HostTreeTest, AQuietHostIsSaidToBe) {
  write(base_ + "/a", "1");
  start();
  const auto set = after([&] { write(merged_ + "/a", "2"); });
  EXPECT_EQ(set.hostTree, HostTree::unchanged);
  EXPECT_TRUE(set.hostChanges.empty());
  EXPECT_FALSE(at(set, "a").hostChanged);
}

TEST_F(HostTreeTest, ARefreshedIndexIsNoChangeOfTheHost) {
  makeDirectories(base_ + "/.git");
  write(base_ + "/.git/index", "1");
  start();
  const auto set = after([&] { write(base_ + "/.git/index", "2"); });
  EXPECT_EQ(set.hostTree, HostTree::unchanged);
}

TEST_F(HostTreeTest, ALargeTreeIsLookedAtOnlyAsFarAsAllowed) {
  for (int i = 0; i < 50; ++i) write(base_ + "/" + std::to_string(i), "");
  start();
  input_.limits.hostEntries = 10;
  const auto set = after([&] { write(merged_ + "/0", "2"); });
  EXPECT_EQ(set.hostTree, HostTree::notChecked);
  EXPECT_NE(set.hostNote.find("10 entries"), std::string::npos) << set.hostNote;
  input_.limits.hostEntries = 1000;
  input_.limits.hostEntriesUnchanged = 10;
  EXPECT_EQ(after([] {}).hostTree, HostTree::notChecked);
  EXPECT_EQ(after([&] { write(merged_ + "/0", "2"); }).hostTree, HostTree::unchanged);
}

TEST_F(CollectorTest, TheManifestHoldsWhatWasFound) {
  write(base_ + "/old", "content");
  const auto set = after([&] {
    write(merged_ + "/\xFF\n", "x");
    rename((merged_ + "/old").c_str(), (merged_ + "/new").c_str());
    makeDirectories(merged_ + "/__pycache__");
  });
  const UniqueFd destination = openTop(destination_);
  const Manifest manifest(destination.get());
  const auto kept = manifest.get();
  ASSERT_EQ(kept.getChanges().size(), set.changes.size());
  EXPECT_TRUE(kept.getKept());
  EXPECT_FALSE(kept.getTruncated());
  EXPECT_EQ(kept.getTotals().getRenamed(), 1U);
  bool bytes = false;
  for (const auto change : kept.getChanges()) {
    if (!change.hasPathBytes()) continue;
    bytes = true;
    EXPECT_EQ(change.getPathBytes().size(), 2U);
    EXPECT_STREQ(change.getPath().cStr(), "\xEF\xBF\xBD\n");
  }
  EXPECT_TRUE(bytes);
  EXPECT_EQ(knownContents(manifest).at("new").size, 7U);

  capnp::MallocMessageBuilder message;
  auto cut = message.initRoot<schema::ChangeSet>();
  writeChangeSet(cut, set, 2);
  EXPECT_TRUE(cut.getTruncated());
  ASSERT_EQ(cut.getChanges().size(), 2U);
  for (const auto change : cut.asReader().getChanges()) EXPECT_FALSE(change.hasNoise());
}

TEST_F(CollectorTest, ADamagedManifestIsRefused) {
  const std::string directory = fresh("set");
  write(directory + "/manifest", "12345");
  EXPECT_THROW(Manifest(openTop(directory).get()), Error);
  unlink((directory + "/manifest").c_str());
  write(directory + "/manifest", std::string(64, '\xFF'));
  EXPECT_THROW(Manifest(openTop(directory).get()), Error);
  unlink((directory + "/manifest").c_str());
  EXPECT_THROW(Manifest(openTop(directory).get()), Error);
}

TEST_F(CollectorTest, AFollowUpThatUndoesLeavesNothing) {
  write(base_ + "/a", "1");
  write(base_ + "/b", "1");
  setMtime(base_ + "/a", 5'000'000'000);
  setMtime(base_ + "/b", 5'000'000'000);
  (void)after([&] {
    write(merged_ + "/a", "2");
    unlink((merged_ + "/b").c_str());
    write(merged_ + "/c", "3");
  });
  const std::string first = keptLayer();
  const std::string second = fresh("upper");
  mountOverlay({first, base_}, second);
  for (const auto name : {"a", "b"}) {
    write(merged_ + "/" + name, "1");
    setMtime(merged_ + "/" + name, 5'000'000'000);
  }
  unlink((merged_ + "/c").c_str());
  unmount();
  const auto set = collectLayer(second, first);
  EXPECT_EQ(set.totals.count(), 0U);
  EXPECT_TRUE(names(openTop(keptLayer()).get()).empty());
}

TEST_F(CollectorTest, AFollowUpSharesItsPredecessorsFiles) {
  (void)after([&] { write(merged_ + "/a", std::string(100'000, 'x')); });
  const std::string first = keptLayer();
  const auto second = collectLayer(fresh("upper"), first);
  EXPECT_EQ(at(second, "a").kind, Kind::added);
  EXPECT_TRUE(at(second, "a").after.digest);
  struct stat one {
  }, two{};
  ASSERT_TRUE(succeeded(stat((first + "/a").c_str(), &one)));
  ASSERT_TRUE(succeeded(stat((keptLayer() + "/a").c_str(), &two)));
  EXPECT_EQ(one.st_ino, two.st_ino);
}

}  // namespace
}  // namespace rauha::changes
