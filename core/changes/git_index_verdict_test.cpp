#include "core/changes/git_index_verdict.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/changes/git_hash.h"

namespace rauha::changes {
namespace {

std::string number(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}

struct Staged {
  std::string name;
  char id = 'a';
  uint32_t mode = 0100644;
  uint16_t flags = 0;
};
using Extensions = std::vector<std::pair<std::string, std::string>>;

// An index written the simple way. looked: what git remembers of the files' times.
std::string index(const std::vector<Staged>& entries, const Extensions& extensions = {}, char looked = 'l', size_t idBytes = kSha1Bytes) {
  std::string out = "DIRC" + number(2, 4) + number(entries.size(), 4);
  for (const auto& e : entries) {
    std::string one = std::string(24, looked) + number(e.mode, 4) + std::string(12, looked) + std::string(idBytes, e.id);
    one += number(e.flags | e.name.size(), 2) + e.name;
    one += std::string(8 - one.size() % 8, '\0');
    out += one;
  }
  for (const auto& [name, content] : extensions) out += name + number(content.size(), 4) + content;
  return out + std::string(idBytes, 'c');
}

std::string treeId(const std::string& content) {
  GitHash hash(kSha1Bytes);
  hash.update("tree " + std::to_string(content.size()) + std::string(1, '\0') + content);
  return hash.finish();
}

std::string entry(const std::string& mode, const std::string& name, const std::string& id) {
  return mode + " " + name + std::string(1, '\0') + id;
}

std::string_view secret(std::string_view path) { return path.find("secret") != std::string_view::npos ? "because" : ""; }

IndexVerdict judge(const std::string& before, const std::string& after) { return judgeIndex(before, after, secret); }

TEST(GitIndexVerdict, OneThatWasOnlyRefreshedIsTheSame) {
  const std::vector<Staged> entries{{"a"}, {"b/secret"}, {"b/x", 'z', 0120000}};
  const auto verdict = judge(index(entries), index(entries, {{"UNTR", "anything"}}, 'm'));
  EXPECT_TRUE(verdict.same);
  EXPECT_EQ(verdict.reason, "");
}

TEST(GitIndexVerdict, WhatItSaysIsCompared) {
  const std::string before = index({{"a"}, {"b"}, {"secret"}});
  for (const auto& after : {index({{"a", 'x'}, {"b"}, {"secret"}}), index({{"a"}, {"secret"}}), index({{"a"}, {"b"}, {"c"}, {"secret"}}),
                            index({{"a", 'a', 0100755}, {"b"}, {"secret"}}), index({{"a", 'a', 0100644, 0x8000}, {"b"}, {"secret"}})}) {
    EXPECT_FALSE(judge(before, after).same);
    EXPECT_EQ(judge(before, after).reason, "");
  }
  for (const auto& after :
       {index({{"a"}, {"b"}, {"secret", 'x'}}), index({{"a"}, {"b"}}), index({{"a"}, {"b"}, {"more/secret"}, {"secret"}})}) {
    EXPECT_FALSE(judge(before, after).same);
    EXPECT_EQ(judge(before, after).reason, "protected path in git's index");
  }
  EXPECT_EQ(judge("", index({{"secret"}})).reason, "protected path in git's index");
  EXPECT_EQ(judge("", index({{"a"}})).reason, "");
  EXPECT_EQ(judge("damaged", index({{"secret"}})).reason, "protected path in git's index");
}

TEST(GitIndexVerdict, TreesAreThoseOfTheEntries) {
  const std::string a(kSha1Bytes, 'a'), sub = treeId(entry("100644", "x", a)),
                                        root = treeId(entry("40000", "b", sub) + entry("100644", "c", a));
  const std::string zero(1, '\0');
  const auto trees = [&](const std::string& rootId, const std::string& subId) {
    return zero + "2 1\n" + rootId + "b" + zero + "1 0\n" + subId;
  };
  const std::vector<Staged> entries{{"b/x"}, {"c"}};
  const std::string before = index(entries);
  EXPECT_TRUE(judge(before, index(entries, {{"TREE", trees(root, sub)}})).same);
  const std::string forged(kSha1Bytes, 'f');
  const std::string unknownRoot = zero + "-1 1\nb" + zero + "1 0\n";
  EXPECT_TRUE(judge(before, index(entries, {{"TREE", unknownRoot + sub}})).same);
  for (const auto& tree : {trees(forged, sub), trees(root, forged), unknownRoot + forged, trees(root, sub) + "more", std::string("x"),
                           zero + "2 2\n" + root + "b" + zero + "1 0\n" + sub + "b" + zero + "1 0\n" + forged})
    EXPECT_EQ(judge(before, index(entries, {{"TREE", tree}})).reason, "git index with trees that are not its entries'");
}

TEST(GitIndexVerdict, WhatIsNotUnderstoodIsProtected) {
  const std::string good = index({{"a"}, {"b"}});
  std::vector<std::string> bad{"",
                               "x",
                               good.substr(0, 60),
                               "DIRX" + good.substr(4),
                               index({{"b"}, {"a"}}),
                               index({{"a"}, {"a"}}),
                               index({{""}}),
                               index({{"a"}}, {{"link", "shared"}}),
                               index({{"a"}}, {{"EOIE", number(4711, 4)}}),
                               index({{"a"}}, {{"IEOT", number(1, 4) + number(99, 4) + number(1, 4)}}),
                               good + "x"};
  bad.push_back("DIRC" + number(5, 4) + good.substr(8));
  bad.push_back("DIRC" + number(2, 4) + number(UINT32_MAX, 4) + good.substr(12));
  for (const auto& after : bad) EXPECT_EQ(judge(good, after).reason, "git index that is not understood") << testing::PrintToString(after);
  const std::string own = number(1, 4) + number(12, 4) + number(1, 4);
  EXPECT_EQ(judge(index({{"a"}}), index({{"a"}}, {{"IEOT", own}})).reason, "");
}

// For the sanitizers, and for the end of it.
TEST(GitIndexVerdict, AnyByteMayBeWrong) {
  const std::string trees = std::string(1, '\0') + "-1 1\nb" + std::string(1, '\0') + "1 0\n" + std::string(kSha1Bytes, 't');
  std::string good = index({{"a"}, {"b/secret"}, {"c"}}, {{"TREE", trees}, {"IEOT", number(1, 4) + number(12, 4) + number(3, 4)}});
  for (const char version : {'\2', '\4'}) {
    good[7] = version;
    for (size_t at = 0; at < good.size(); ++at) {
      for (const int value : {0, 1, 0x2f, 0x7f, 0x80, 0xff}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(value);
        judge(bytes, good);
        judge(good, bytes);
        judge(good, bytes.substr(0, at));
      }
    }
  }
  EXPECT_EQ(judge("", good.substr(0, 7) + '\2' + good.substr(8)).reason, "protected path in git's index");
}

TEST(GitIndexVerdict, LongerIdsAndNamesInCommon) {
  EXPECT_TRUE(judge(index({{"a"}}, {}, 'l', kSha256Bytes), index({{"a"}}, {}, 'm', kSha256Bytes)).same);
  // Version 4: "dir/a", then four of its letters and "secret".
  const std::string stat(24, 'l'), rest(12, 'l'), id(kSha1Bytes, 'a');
  const auto one = [&](size_t size, char drop, const std::string& more) {
    return stat + number(0100644, 4) + rest + id + number(size, 2) + drop + more + std::string(1, '\0');
  };
  const std::string after = "DIRC" + number(4, 4) + number(2, 4) + one(5, 0, "dir/a") + one(10, 1, "secret") + std::string(kSha1Bytes, 'c');
  EXPECT_TRUE(judge(index({{"dir/a"}, {"dir/secret"}}), after).same);
  EXPECT_EQ(judge(index({{"dir/a"}}), after).reason, "protected path in git's index");
}

}  // namespace
}  // namespace rauha::changes
