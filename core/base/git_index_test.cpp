#include "core/base/git_index.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <random>

#include "core/base/testing/git_index_bytes.h"

namespace rauha {
namespace {

using testing::Index;

Index some() {
  Index out;
  out.entries = {{"README"}, {"src/a.c"}, {"src/a.h"}};
  return out;
}

std::string digest(const Index& index) { return gitIndexEntries(index.bytes()); }

TEST(GitIndex, whatALookRefreshesIsNotInIt) {
  const auto first = digest(some());
  ASSERT_FALSE(first.empty());
  Index looked = some();
  looked.entries[1].looked = 7;
  looked.extensions = {{"TREE", "cached"}, {"UNTR", ""}, {"FSMN", "x"}, {"EOIE", "y"}, {"IEOT", "z"}};
  EXPECT_EQ(digest(looked), first);
  for (const uint32_t version : {3u, 4u}) {
    looked.version = version;
    EXPECT_EQ(digest(looked), first) << version;
  }
}

TEST(GitIndex, whatIsStagedIs) {
  const auto first = digest(some());
  const auto differs = [&](auto change) {
    Index other = some();
    change(other);
    EXPECT_FALSE(digest(other).empty());
    EXPECT_NE(digest(other), first);
  };
  differs([](Index& i) { i.entries[0].object = 'p'; });
  differs([](Index& i) { i.entries[0].mode = 0100755; });
  differs([](Index& i) { i.entries[0].name = "README2"; });
  differs([](Index& i) { i.entries.pop_back(); });
  differs([](Index& i) { i.entries.push_back({"z"}); });
  differs([](Index& i) { i.entries[1].flags = 0x2000; });  // a stage of a merge
  differs([](Index& i) { i.entries[1].flags = 0x8000; });  // assume-unchanged
  differs([](Index& i) { i.version = 3, i.entries[1].more = 0x2000; });
  differs([](Index& i) { i.extensions = {{"REUC", "undo"}}; });
  differs([](Index& i) { i.extensions = {{"sdir", ""}}; });
}

TEST(GitIndex, longerObjectIds) {
  Index index = some();
  index.idBytes = 32;
  ASSERT_FALSE(digest(index).empty());
  const auto first = digest(index);
  index.entries[0].looked = 9;
  EXPECT_EQ(digest(index), first);
  index.entries[0].object = 'p';
  EXPECT_NE(digest(index), first);
}

TEST(GitIndex, whatIsNotUnderstoodIsNotKnown) {
  EXPECT_EQ(gitIndexEntries(""), "");
  EXPECT_EQ(gitIndexEntries("no index at all, however long it is, and it is long enough"), "");
  Index index = some();
  index.version = 5;
  EXPECT_EQ(digest(index), "");
  index = some();
  index.extensions = {{"link", std::string(20, 's')}};
  EXPECT_EQ(digest(index), "") << "the entries are in another file";
  index.extensions = {{"new!", ""}};
  EXPECT_EQ(digest(index), "");
  index.extensions = {};
  index.entries[1].name = "";
  EXPECT_EQ(digest(index), "");
  const std::string whole = some().bytes();
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_EQ(gitIndexEntries(whole.substr(0, size)), "") << size;
  EXPECT_EQ(gitIndexEntries(whole + "x"), "");
}

// Not more than that it ends, and reads nothing that is not there (the sanitizers look).
TEST(GitIndex, hostileBytes) {
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same inputs each time
  for (const uint32_t version : {2u, 4u}) {
    Index index = some();
    index.version = version;
    index.extensions = {{"TREE", "cached"}};
    const std::string whole = index.bytes();
    for (int round = 0; round < 4000; ++round) {
      std::string bytes = whole;
      for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
      bytes.resize(bytes.size() - random() % 4 * (random() % bytes.size()) / 4);
      (void)gitIndexEntries(bytes);
    }
  }
  std::string endless = "DIRC" + std::string("\0\0\0\2\xff\xff\xff\xff", 8) + std::string(100, '\0');
  EXPECT_EQ(gitIndexEntries(endless), "");
}

// Version 4 writes of each name what differs from the one before it: some megabytes say gigabytes.
TEST(GitIndex, namesThatAreLongerThanTheFileEnd) {
  Index index;
  index.version = 4;
  const std::string common(3990, 'n');
  const auto with = [&](int entries) {
    index.entries.clear();
    for (int i = 0; i < entries; ++i) index.entries.push_back({common + std::to_string(1'000'000 + i)});
    return digest(index);
  };
  EXPECT_NE(with(60'000), "");
  EXPECT_EQ(with(70'000), "");
}

TEST(GitIndex, ofAFile) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  const int fd = fileno(file);
  const std::string bytes = some().bytes();
  ASSERT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(gitIndexEntries(fd), digest(some())) << "whatever its position";
  ASSERT_EQ(ftruncate(fd, (64 << 20) + 1), 0);
  EXPECT_EQ(gitIndexEntries(fd), "");
  fclose(file);
}

}  // namespace
}  // namespace rauha
