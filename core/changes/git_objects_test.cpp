#include "core/changes/git_objects.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "core/changes/git_hash.h"
#include "core/changes/testing/overlay_fixture.h"

namespace rauha::changes {
namespace {

using testing::find;
using testing::makeDirectories;
using testing::OverlayTest;
using testing::write;

std::string packed(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()), Z_OK);
  out.resize(size);
  return out;
}

std::string blob(const std::string& text) { return "blob " + std::to_string(text.size()) + std::string(1, '\0') + text; }

std::string placeOf(const std::string& object, size_t idBytes = kSha1Bytes) {
  GitHash hash(idBytes);
  hash.update(object);
  std::string out;
  for (const unsigned char byte : hash.finish()) {
    static constexpr char digits[] = "0123456789abcdef";
    out += {digits[byte >> 4], digits[byte & 15]};
    if (out.size() == 2) out += '/';
  }
  return out;
}

class GitObjects : public OverlayTest {
 protected:
  void put(const std::string& top, const std::string& path, const std::string& content) {
    makeDirectories(top + "/" + path.substr(0, path.rfind('/')));
    write(top + "/" + path, content);
  }
  template <typename F>
  ChangeSet after(F task) {
    const auto upper = fresh("upper");
    mountOverlay({base_}, upper);
    task();
    unmount();
    return collectLayer(upper);
  }
  static std::string judged(const ChangeSet& set, const std::string& path) {
    const Change* change = find(set, path);
    return change == nullptr ? "no change" : std::string(change->noise) + "|" + std::string(change->reason);
  }
};

TEST_F(GitObjects, NewOnesThatAreWhatTheirNamesSay) {
  const std::string one = blob("one"), large = blob(std::string(1 << 20, 'x'));
  const auto set = after([&] {
    put(merged_, ".git/objects/" + placeOf(one), packed(one));
    put(merged_, "sub/.git/objects/" + placeOf(large, kSha256Bytes), packed(large));
    put(merged_, ".git/objects/" + placeOf(blob("two")), packed(one));
    put(merged_, ".git/objects/" + placeOf(blob("three")), "no zlib");
    put(merged_, ".git/objects/" + placeOf(blob("four")), packed(blob("four")).substr(0, 10));
  });
  EXPECT_EQ(judged(set, ".git/objects/" + placeOf(one)), ".git/objects|");
  EXPECT_EQ(judged(set, "sub/.git/objects/" + placeOf(large, kSha256Bytes)), ".git/objects|");
  for (const auto text : {"two", "three", "four"})
    EXPECT_EQ(judged(set, ".git/objects/" + placeOf(blob(text))), "|git object under a wrong name") << text;
}

TEST_F(GitObjects, NoneIsEverChanged) {
  const std::string evil = packed(blob("evil"));
  for (const auto top : {".git/", ".git/modules/lib/", "bare.git/", "unnamed/"}) {
    put(base_, std::string(top) + "HEAD", "ref: refs/heads/main\n");
    makeDirectories(base_ + "/" + top + "refs");
    for (const auto text : {"replaced", "removed", "linked"}) put(base_, top + ("objects/" + placeOf(blob(text))), packed(blob(text)));
    put(base_, std::string(top) + "objects/pack/pack-1.idx", "x");
  }
  const auto set = after([&] {
    for (const std::string top : {".git/", ".git/modules/lib/", "bare.git/", "unnamed/"}) {
      put(merged_, top + "objects/" + placeOf(blob("replaced")), evil);
      unlink((merged_ + "/" + top + "objects/" + placeOf(blob("removed"))).c_str());
      unlink((merged_ + "/" + top + "objects/" + placeOf(blob("linked"))).c_str());
      EXPECT_EQ(symlink("../../x", (merged_ + "/" + top + "objects/" + placeOf(blob("linked"))).c_str()), 0);
      put(merged_, top + "objects/info/alternates", "/elsewhere\n");
      put(merged_, top + "objects/info/commit-graph", "x");
      put(merged_, top + "objects/pack/pack-2.idx", "x");
      put(merged_, top + "objects/pack/pack-1.idx", "y");
    }
  });
  for (const std::string top : {".git/objects/", ".git/modules/lib/objects/", "bare.git/objects/", "unnamed/objects/"}) {
    EXPECT_EQ(judged(set, top + placeOf(blob("replaced"))), "|git object replaced");
    EXPECT_EQ(judged(set, top + placeOf(blob("removed"))), "|git object removed");
    EXPECT_NE(find(set, top + placeOf(blob("linked")))->reason, "");
    EXPECT_EQ(judged(set, top + "info/alternates"), "|git object store");
    EXPECT_EQ(judged(set, top + "info/commit-graph"), "|git object store");
    EXPECT_EQ(judged(set, top + "pack/pack-2.idx"), "|git pack");
    EXPECT_EQ(judged(set, top + "pack/pack-1.idx"), "|git object replaced");
  }
}

TEST_F(GitObjects, ABombIsNotUnpacked) {
  const std::string large = blob(std::string(kObjectBytes, '\0'));
  const auto set = after([&] { put(merged_, ".git/objects/" + placeOf(large), packed(large)); });
  EXPECT_EQ(judged(set, ".git/objects/" + placeOf(large)), "|git object that was not checked");
}

TEST_F(GitObjects, WhatNamesNoObjectIsNone) {
  put(base_, ".git/refs/heads/objects/x", "1");
  put(base_, "src/objects/x", "1");
  const auto set = after([&] {
    put(merged_, ".git/refs/heads/objects/x", "2");
    put(merged_, "src/objects/x", "2");
    makeDirectories(merged_ + "/.git/objects/ab");
  });
  EXPECT_EQ(judged(set, ".git/refs/heads/objects/x"), "|");
  EXPECT_EQ(judged(set, "src/objects/x"), "|");
  EXPECT_EQ(judged(set, ".git/objects/ab"), ".git/objects|");
}

}  // namespace
}  // namespace rauha::changes
