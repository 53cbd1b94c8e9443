// Random operations through a real overlay mount: whatever they were, the change set applied to the base gives the tree that the task saw,
// and so does its layer mounted over the base; also for a follow-up, whose set says everything since the base.

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <random>

#include "core/changes/testing/overlay_fixture.h"
#include "core/changes/tree.h"

namespace rauha::changes {
namespace {

using namespace testing;

// Few names, so that operations meet; some that are hard to handle.
const std::vector<std::string> kNames{"a", "b",     "c.txt",       "-rf",  "new\nline", "\xFF\xFE", std::string(255, 'n'),
                                      "A", "x.pyc", "__pycache__", ".git", "a.b"};

class Actor final {
 public:
  Actor(std::string top, uint32_t seed) : top_(std::move(top)), random_(seed) {}

  void act() {
    const std::string path = anyPath();
    switch (pick(16)) {
      case 0:
      case 1:
        if (!isDirectory(path) && make(path)) write(path, text());
        break;
      case 2:
        mkdir(path.c_str(), mode());
        break;
      case 3:
        removeAll(path);
        break;
      case 4:
        if (isFile(path)) append(path);
        break;
      case 5:
        if (!isLink(path)) chmod(path.c_str(), mode());
        break;
      case 6:
        if (exists(path)) setMtime(path, 1'600'000'000'000'000'000 + static_cast<int64_t>(pick(1'000'000)) * 1'000'003);
        break;
      case 7:
        may(symlink(kNames[pick(kNames.size())].c_str(), path.c_str()));
        break;
      case 8:
        if (isFile(anyOther_ = anyPath())) may(link(anyOther_.c_str(), path.c_str()));
        break;
      case 9:
        // A directory of the lower layer cannot be renamed (EXDEV); that is fine here, `mv` copies and removes, which the others do.
        may(rename(path.c_str(), anyPath().c_str()));
        break;
      case 10:
        if (isFile(path) || isDirectory(path)) may(lsetxattr(path.c_str(), "user.note", text().data(), 3, 0));
        break;
      case 11:
        may(lremovexattr(path.c_str(), "user.note"));
        break;
      case 12:
        if (exists(path)) may(lchown(path.c_str(), static_cast<uid_t>(pick(3)), static_cast<gid_t>(pick(3))));
        break;
      case 13:  // an opaque directory
        removeAll(path);
        if (mkdir(path.c_str(), mode()) == 0) write(path + "/" + kNames[pick(kNames.size())], text());
        break;
      case 14:
        if (isFile(path)) may(truncate(path.c_str(), static_cast<off_t>(pick(5000))));
        break;
      default:
        may(mkfifo(path.c_str(), mode()));
    }
  }

 private:
  // It may fail: what then is, is what is compared.
  static void may(int) {}
  size_t pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  mode_t mode() { return static_cast<mode_t>(std::vector<int>{0644, 0755, 0600, 0700, 0777, 0400, 04755, 0000}[pick(8)]); }
  std::string text() { return std::string(1 + pick(40), static_cast<char>('a' + pick(3))) + (pick(8) == 0 ? std::string(3, '\0') : ""); }
  std::string anyPath() {
    std::string out = top_;
    for (size_t depth = 1 + pick(3); depth > 0; --depth) {
      if (!isDirectory(out)) break;
      out += "/" + kNames[pick(kNames.size())];
    }
    return out;
  }
  static bool stat(const std::string& path, struct stat& st) { return lstat(path.c_str(), &st) == 0; }
  static bool exists(const std::string& path) {
    struct stat st {};
    return stat(path, st);
  }
  static bool isDirectory(const std::string& path) {
    struct stat st {};
    return stat(path, st) && S_ISDIR(st.st_mode);
  }
  static bool isFile(const std::string& path) {
    struct stat st {};
    return stat(path, st) && S_ISREG(st.st_mode);
  }
  static bool isLink(const std::string& path) {
    struct stat st {};
    return stat(path, st) && S_ISLNK(st.st_mode);
  }
  static bool make(const std::string& path) {
    struct stat st {};
    return !stat(path, st) || S_ISREG(st.st_mode);
  }
  void append(const std::string& path) { write(path, read(path) + text()); }

  std::string top_, anyOther_;
  std::mt19937 random_;
};

class PropertyTest : public OverlayTest, public ::testing::WithParamInterface<uint32_t> {
 protected:
  // The set in destination_ says what `expected` is.
  void checkSet(const ChangeSet& set, const Snapshot& expected) {
    ASSERT_TRUE(set.kept) << set.keptNote;
    ASSERT_TRUE(set.followable) << set.followableNote;
    const std::string copy = fresh("copy");
    copyTree(base_, copy);
    applyTo(copy, set, keptLayer());
    EXPECT_EQ(difference(expected, snapshot(copy)), "") << "applied";
    mountReadOnly({keptLayer(), base_});
    EXPECT_EQ(difference(expected, snapshot(merged_)), "") << "mounted";
    unmount();
    EXPECT_EQ(set.totals.count(), set.changes.size());
  }
};

TEST_P(PropertyTest, AChangeSetIsWhatWasSeen) {
  if (GetParam() % 2 == 0) input_.limits.filesAlone = 0;  // a thread makes every file
  Actor before(base_, GetParam());
  for (int i = 0; i < 120; ++i) before.act();
  const Snapshot base = snapshot(base_);

  const std::string first = fresh("upper");
  mountOverlay({base_}, first);
  Actor task(merged_, GetParam() + 1'000'000);
  for (int i = 0; i < 80; ++i) task.act();
  const Snapshot seenFirst = snapshot(merged_);
  unmount();
  const ChangeSet set = collectLayer(first);
  checkSet(set, seenFirst);
  const std::string firstLayer = keptLayer();

  const std::string second = fresh("upper");
  mountOverlay({firstLayer, base_}, second);
  Actor followUp(merged_, GetParam() + 2'000'000);
  for (int i = 0; i < 80; ++i) followUp.act();
  const Snapshot seenSecond = snapshot(merged_);
  unmount();
  const ChangeSet both = collectLayer(second, firstLayer);
  removeAll(firstLayer);
  checkSet(both, seenSecond);
  EXPECT_EQ(difference(base, snapshot(base_)), "") << "the base was touched";
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertyTest, ::testing::Range(1U, 61U));

}  // namespace
}  // namespace rauha::changes
