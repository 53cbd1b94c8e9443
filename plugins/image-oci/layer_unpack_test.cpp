#include "plugins/image-oci/layer_unpack.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"
#include "plugins/image-oci/test_directory.h"
#include "plugins/image-oci/test_tar.h"

namespace rauha::oci {
namespace {

using namespace test;

// One layer below a directory of its own, with a canary beside it that nothing may touch.
class Unpack : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
    std::filesystem::create_directory(root_);
    spill(canary_, "canary");
    spill(outside_ + "/file", "outside");
  }
  void TearDown() override {
    if (geteuid() != 0) return;
    EXPECT_EQ(slurp(canary_), "canary");
    EXPECT_EQ(slurp(outside_ + "/file"), "outside");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(outside_), {}), 1);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(temp_.path()), {}), 3);
    EXPECT_EQ(look(canary_).st_nlink, 1u);
  }
  LayerFacts unpackBytes(const std::string& tar) {
    const auto stream = streamText(tar);
    const UniqueFd dir = openDir(root_);
    return unpackLayer(*stream, dir.get(), limits_, {}, "layer test");
  }
  LayerFacts unpack(const std::vector<TarEntry>& entries) { return unpackBytes(tarOf(entries)); }
  Error refusal(const std::vector<TarEntry>& entries) { return refusalOf(tarOf(entries)); }
  Error refusalOf(const std::string& tar) {
    try {
      unpackBytes(tar);
    } catch (const Error& e) {
      return e;
    }
    ADD_FAILURE() << "was accepted";
    return Error("image", Code::none, "");
  }
  std::string at(const std::string& name) const { return root_ + "/" + name; }

  TempDir temp_;
  std::string root_ = temp_ / "root", canary_ = temp_ / "canary", outside_ = temp_ / "outside";
  Limits limits_;
};

TEST_F(Unpack, PlainEntries) {
  const LayerFacts facts = unpack({
      {.name = "./", .type = '5', .mode = 0711},
      {.name = "./etc/", .type = '5', .mode = 0750, .uid = 3, .gid = 4, .mtime = 77},
      {.name = "etc/motd", .content = "hello", .mode = 0640, .uid = 65535, .gid = 100, .mtime = 1234567890},
      {.name = "bin/su", .content = "x", .mode = 04755},
      {.name = "link", .type = '2', .link = "/etc/motd", .uid = 7, .gid = 8, .mtime = 99},
      {.name = "hard", .type = '1', .link = "etc/motd"},
      {.name = "pipe", .type = '6', .mode = 0622, .uid = 5},
  });
  EXPECT_EQ(look(root_).st_mode, mode_t{S_IFDIR | 0711});
  const auto etc = look(at("etc")), motd = look(at("etc/motd")), link = look(at("link")), pipe = look(at("pipe"));
  EXPECT_EQ(etc.st_mode, mode_t{S_IFDIR | 0750});
  EXPECT_EQ(etc.st_uid, 3u);
  EXPECT_EQ(etc.st_gid, 4u);
  EXPECT_EQ(etc.st_mtime, 77);
  EXPECT_EQ(slurp(at("etc/motd")), "hello");
  EXPECT_EQ(motd.st_mode, mode_t{S_IFREG | 0640});
  EXPECT_EQ(motd.st_uid, 65535u);
  EXPECT_EQ(motd.st_mtime, 1234567890);
  EXPECT_EQ(look(at("hard")).st_ino, motd.st_ino);
  EXPECT_EQ(look(at("bin/su")).st_mode, mode_t{S_IFREG | 04755});
  EXPECT_EQ(std::filesystem::read_symlink(at("link")), "/etc/motd");
  EXPECT_EQ(link.st_uid, 7u);
  EXPECT_EQ(link.st_mtime, 99);
  EXPECT_EQ(pipe.st_mode, mode_t{S_IFIFO | 0622});
  EXPECT_EQ(pipe.st_uid, 5u);
  EXPECT_EQ(look(at("bin")).st_mode, mode_t{S_IFDIR | 0755});
  EXPECT_EQ(look(at("bin")).st_mtime, 0);
  EXPECT_EQ(facts.bytes, 6u);
  EXPECT_TRUE(facts.notes.empty());
  EXPECT_FALSE(facts.opaqueRoot);
}

TEST_F(Unpack, NamesAreBytes) {
  const std::string nfd = "e\xcc\x81", latin = "caf\xe9", utf8 = "\xc3\xa9\xe2\x82\xac";
  unpack({{.name = nfd, .content = "1", .pax = {{"path", nfd}}},
          {.name = latin, .content = "2", .pax = {{"path", latin}}},
          {.name = utf8, .content = "3", .pax = {{"path", utf8}}},
          {.name = "raw-" + latin, .content = "4"},
          {.name = "l", .type = '2', .link = "x", .pax = {{"linkpath", nfd + latin}}}});
  EXPECT_EQ(slurp(at(nfd)), "1");
  EXPECT_EQ(slurp(at(latin)), "2");
  EXPECT_EQ(slurp(at(utf8)), "3");
  EXPECT_EQ(slurp(at("raw-" + latin)), "4");
  EXPECT_EQ(std::filesystem::read_symlink(at("l")).string(), nfd + latin);
}

TEST_F(Unpack, LongNames) {
  const std::string part(255, 'n'), path = part + "/" + part + "/" + part;
  unpack({{.name = path, .content = "deep"}, {.name = "l", .type = '2', .link = std::string(4000, 'x')}});
  EXPECT_EQ(slurp(at(path)), "deep");
  EXPECT_EQ(std::filesystem::read_symlink(at("l")).string().size(), 4000u);
}

TEST_F(Unpack, Whiteouts) {
  unpack({{.name = "etc/.wh.gone"},
          {.name = ".wh.top"},
          {.name = "var/.wh..wh..opq"},
          {.name = "var/new", .content = "n"},
          {.name = ".wh..wh.plnk"},
          {.name = ".wh..wh.aufs"}});
  EXPECT_TRUE(isWhiteout(at("etc/gone")));
  EXPECT_TRUE(isWhiteout(at("top")));
  EXPECT_TRUE(isOpaque(at("var")));
  EXPECT_FALSE(isOpaque(at("etc")));
  EXPECT_EQ(slurp(at("var/new")), "n");
  EXPECT_FALSE(exists(at(".wh..wh.plnk")));
  EXPECT_FALSE(exists(at(".wh.top")));
}

TEST_F(Unpack, OpaqueRootIsReported) { EXPECT_TRUE(unpack({{.name = "./.wh..wh..opq"}, {.name = "a"}}).opaqueRoot); }

// image-spec, layer.md: a whiteout is about the layers below only, wherever in the archive it stands.
TEST_F(Unpack, WhiteoutAndSameNameInOneLayer) {
  unpack({{.name = ".wh.d1"},
          {.name = "d1/", .type = '5'},
          {.name = "d1/x"},
          {.name = "d2/", .type = '5'},
          {.name = "d2/x"},
          {.name = ".wh.d2"},
          {.name = ".wh.f1"},
          {.name = "f1", .content = "1"},
          {.name = "f2", .content = "2"},
          {.name = ".wh.f2"},
          {.name = ".wh.d3"},
          {.name = "d3/implied", .content = "3"}});
  for (const char* d : {"d1", "d2", "d3"}) EXPECT_TRUE(isOpaque(at(d))) << d;
  EXPECT_TRUE(exists(at("d1/x")));
  EXPECT_TRUE(exists(at("d2/x")));
  EXPECT_EQ(slurp(at("f1")), "1");
  EXPECT_EQ(slurp(at("f2")), "2");
  EXPECT_EQ(slurp(at("d3/implied")), "3");
}

TEST_F(Unpack, BadWhiteouts) {
  for (const char* name : {".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..."})
    EXPECT_EQ(refusal({{.name = name}}).code(), Code::invalid) << name;
  EXPECT_NE(refusal({{.name = ".wh.d/file"}}).text().find(".wh."), std::string::npos);
}

TEST_F(Unpack, Xattrs) {
  const std::string cap("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  const std::string cap3 = std::string("\1\0\0\3\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20) + std::string(4, '\0');
  const std::string binary("a\0\xff\nb", 5);
  const LayerFacts facts =
      unpack({{.name = "f",
               .pax = {{"SCHILY.xattr.user.x", binary},
                       {"SCHILY.xattr.security.capability", cap},
                       {"SCHILY.xattr.trusted.overlay.opaque", "y"},
                       {"SCHILY.xattr.user.overlay.opaque", "y"},
                       {"SCHILY.xattr.security.selinux", "x"},
                       {"SCHILY.xattr.system.posix_acl_access", "x"}}},
              {.name = "g", .pax = {{"SCHILY.xattr.security.capability", cap3}}},
              {.name = "d/", .type = '5', .pax = {{"SCHILY.xattr.user.d", "1"}, {"SCHILY.xattr.trusted.overlay.redirect", "/x"}}}});
  EXPECT_EQ(xattr(at("f"), "user.x"), binary);
  EXPECT_EQ(xattr(at("f"), "security.capability"), cap);
  EXPECT_EQ(xattr(at("g"), "security.capability"), "");
  EXPECT_EQ(xattr(at("d"), "user.d"), "1");
  for (const char* gone : {"trusted.overlay.opaque", "user.overlay.opaque", "security.selinux"})
    EXPECT_EQ(xattr(at("f"), gone), "") << gone;
  EXPECT_EQ(xattr(at("d"), "trusted.overlay.redirect"), "");
  EXPECT_EQ(facts.notes.size(), 6u);
}

TEST_F(Unpack, XattrLimits) {
  EXPECT_EQ(refusal({{.name = "f", .pax = {{"SCHILY.xattr.user.x", std::string(70'000, 'v')}}}}).code(), Code::limit);
  EXPECT_EQ(refusal({{.name = "f", .pax = {{"SCHILY.xattr.user." + std::string(300, 'k'), "v"}}}}).code(), Code::limit);
  TarEntry many{.name = "f"};
  for (int i = 0; i < 200; ++i) many.pax["SCHILY.xattr.user.k" + std::to_string(i)] = "v";
  EXPECT_EQ(refusal({many}).code(), Code::limit);
}

TEST_F(Unpack, DevicesAreLeftOut) {
  const LayerFacts facts = unpack({{.name = "c", .type = '3'}, {.name = "b", .type = '4'}, {.name = "after", .content = "1"}});
  EXPECT_FALSE(exists(at("c")));
  EXPECT_FALSE(exists(at("b")));
  EXPECT_TRUE(exists(at("after")));
  EXPECT_EQ(facts.notes.size(), 2u);
}

TEST_F(Unpack, OwnersBeyondAZone) {
  for (uint64_t id : {uint64_t{65536}, uint64_t{100000}, uint64_t{4294967295}, uint64_t{1} << 40}) {
    EXPECT_EQ(refusal({{.name = "f", .uid = id}}).code(), Code::limit);
    EXPECT_EQ(refusal({{.name = "l", .type = '2', .link = "x", .gid = id}}).code(), Code::limit);
  }
  EXPECT_NE(refusal({{.name = "f", .uid = 70000}}).text().find("'f': owner 70000:0 is beyond 65535"), std::string::npos);
}

TEST_F(Unpack, Traversal) {
  for (const char* name : {"../canary", "../../canary", "a/../../canary", "a/..", "..", "/..", "/../canary", "./../canary", "a/../b"}) {
    const Error e = refusal({{.name = name, .content = "evil"}});
    EXPECT_EQ(e.code(), Code::invalid) << name;
    EXPECT_NE(e.text().find("'..'"), std::string::npos) << e.text();
  }
}

TEST_F(Unpack, AbsoluteNamesStayInside) {
  unpack({{.name = canary_, .content = "evil"}, {.name = "//etc//passwd", .content = "x"}});
  EXPECT_EQ(slurp(at(canary_.substr(1))), "evil");
  EXPECT_EQ(slurp(at("etc/passwd")), "x");
}

TEST_F(Unpack, WritesThroughLinksStayInside) {
  unpack({{.name = "abs", .type = '2', .link = temp_.path()},
          {.name = "abs/canary", .content = "evil"},
          {.name = "up", .type = '2', .link = ".."},
          {.name = "up/canary", .content = "evil"},
          {.name = "far", .type = '2', .link = "../../../../../../.." + temp_.path()},
          {.name = "far/outside/file", .content = "evil"},
          {.name = "self", .type = '2', .link = "self"},
          {.name = "self/x", .content = "1"},
          {.name = "dangling", .type = '2', .link = "nowhere"},
          {.name = "dangling/x", .content = "2"},
          {.name = "proc", .type = '2', .link = "/proc/self/root" + temp_.path()},
          {.name = "proc/canary", .content = "evil"},
          {.name = "chain1", .type = '2', .link = "chain2"},
          {.name = "chain2", .type = '2', .link = outside_},
          {.name = "chain1/file", .content = "evil"}});
  EXPECT_EQ(slurp(at("canary")), "evil");  // "up" leads to the root of the layer, as in a running system
  EXPECT_EQ(slurp(at("self/x")), "1");
  EXPECT_EQ(slurp(at("dangling/x")), "2");
}

TEST_F(Unpack, LinksWithinTheLayerAreFollowed) {
  unpack({{.name = "usr/lib/", .type = '5', .mode = 0755},
          {.name = "lib", .type = '2', .link = "usr/lib"},
          {.name = "lib/x.so", .content = "so"},
          {.name = "lib64", .type = '2', .link = "/usr/lib"},
          {.name = "lib64/.wh.old"}});
  EXPECT_EQ(slurp(at("usr/lib/x.so")), "so");
  EXPECT_TRUE(S_ISLNK(look(at("lib")).st_mode));
  EXPECT_TRUE(isWhiteout(at("usr/lib/old")));
}

TEST_F(Unpack, FinalLinksAreReplacedNotFollowed) {
  unpack({{.name = "l", .type = '2', .link = canary_},
          {.name = "l", .content = "mine"},
          {.name = "d", .type = '2', .link = outside_},
          {.name = "d/", .type = '5', .mode = 0700, .uid = 9},
          {.name = "m", .type = '2', .link = canary_},
          {.name = "m", .type = '6'},
          {.name = "w", .type = '2', .link = outside_},
          {.name = "w", .type = '2', .link = "other"}});
  EXPECT_EQ(slurp(at("l")), "mine");
  EXPECT_TRUE(S_ISDIR(look(at("d")).st_mode));
  EXPECT_TRUE(S_ISFIFO(look(at("m")).st_mode));
  EXPECT_EQ(look(outside_).st_uid, 0u);
}

TEST_F(Unpack, HardLinksStayInside) {
  for (const std::string& target : {std::string("../canary"), std::string("a/../../canary")})
    EXPECT_EQ(refusal({{.name = "h", .type = '1', .link = target}}).code(), Code::invalid) << target;
  EXPECT_EQ(refusal({{.name = "h", .type = '1', .link = canary_}}).code(), Code::invalid);
  EXPECT_EQ(refusal({{.name = "up", .type = '2', .link = temp_.path()}, {.name = "h", .type = '1', .link = "up/canary"}}).code(),
            Code::invalid);
  EXPECT_EQ(refusal({{.name = "d/", .type = '5'}, {.name = "h", .type = '1', .link = "d"}}).code(), Code::invalid);
  EXPECT_EQ(refusal({{.name = "h", .type = '1', .link = "/"}}).code(), Code::invalid);
  EXPECT_EQ(refusal({{.name = ".wh.w"}, {.name = "h", .type = '1', .link = "w"}}).code(), Code::invalid);
  EXPECT_EQ(refusal({{.name = "h2", .type = '1', .link = "h2"}, {.name = "h3", .type = '1', .link = "h2"}}).code(), Code::invalid);
}

// A hard link to a link is the link, not what it leads to; writing to its name afterwards replaces it.
TEST_F(Unpack, HardLinkToALink) {
  unpack({{.name = "l", .type = '2', .link = canary_}, {.name = "h", .type = '1', .link = "l"}, {.name = "h", .content = "mine"}});
  EXPECT_EQ(slurp(at("h")), "mine");
  EXPECT_TRUE(S_ISLNK(look(at("l")).st_mode));
}

TEST_F(Unpack, RewritingAHardLinkLeavesTheOther) {
  unpack({{.name = "a", .content = "1"},
          {.name = "b", .type = '1', .link = "a"},
          {.name = "b", .type = '1', .link = "a"},
          {.name = "a", .content = "2"}});
  EXPECT_EQ(slurp(at("a")), "2");
  EXPECT_EQ(slurp(at("b")), "1");
}

TEST_F(Unpack, DuplicatesAndTypeChanges) {
  unpack({{.name = "x", .content = "1"},
          {.name = "x/", .type = '5', .mode = 0700},
          {.name = "x/y", .content = "2"},
          {.name = "x/", .type = '5', .mode = 0711},
          {.name = "z/deep/tree/f", .content = "3"},
          {.name = "z", .content = "file"},
          {.name = "p", .content = "1"},
          {.name = "p/q", .content = "below a file"},
          {.name = "same", .content = "long content"},
          {.name = "same", .content = "s", .mode = 0600}});
  EXPECT_EQ(look(at("x")).st_mode, mode_t{S_IFDIR | 0711});
  EXPECT_EQ(slurp(at("x/y")), "2");
  EXPECT_EQ(slurp(at("z")), "file");
  EXPECT_EQ(slurp(at("p/q")), "below a file");
  EXPECT_EQ(slurp(at("same")), "s");
  EXPECT_EQ(look(at("same")).st_mode, mode_t{S_IFREG | 0600});
}

TEST_F(Unpack, TheRootStaysADirectory) {
  EXPECT_EQ(refusal({{.name = "/", .content = "x"}}).code(), Code::invalid);
  EXPECT_EQ(refusal({{.name = ".", .type = '2', .link = outside_}}).code(), Code::invalid);
  EXPECT_TRUE(S_ISDIR(look(root_).st_mode));
}

TEST_F(Unpack, NameLimits) {
  EXPECT_EQ(refusal({{.name = std::string(300, 'n')}}).code(), Code::limit);
  EXPECT_EQ(refusal({{.name = std::string(3000, 'a') + "/" + std::string(3000, 'b')}}).code(), Code::limit);
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  EXPECT_EQ(refusal({{.name = deep + "f"}}).code(), Code::limit);
  EXPECT_EQ(refusal({{.name = "l", .type = '2', .link = std::string(5000, 'x')}}).code(), Code::limit);
  EXPECT_EQ(refusal({{.name = "l", .type = '2'}}).code(), Code::invalid);
}

// Whatever is taken for the name, it lies inside.
TEST_F(Unpack, NamesWithNul) {
  unpack({{.name = "x", .content = "evil", .pax = {{"path", std::string("a\0../../canary", 14)}}}});
  EXPECT_EQ(slurp(at("a")), "evil");
}

TEST_F(Unpack, EntryLimit) {
  limits_.entriesMax = 5;
  EXPECT_EQ(refusal({{.name = "1"}, {.name = "2"}, {.name = "3"}, {.name = "4"}, {.name = "5"}, {.name = "6"}}).code(), Code::limit);
  EXPECT_EQ(refusal({{.name = "a/b/c/d/e/f"}}).code(), Code::limit);  // implied directories count
}

TEST_F(Unpack, ByteLimit) {
  limits_.layerBytesMax = 1000;
  EXPECT_EQ(refusal({{.name = "1", .content = std::string(600, 'x')}, {.name = "2", .content = std::string(600, 'x')}}).code(),
            Code::limit);
  // A sparse file of an exabyte costs nothing on disk, but later somebody copies it.
  std::string map = "1\n0\n5\n";
  map.resize(512, '\0');
  EXPECT_EQ(refusal({{.name = "s",
                      .content = map + "hello",
                      .pax = {{"GNU.sparse.major", "1"},
                              {"GNU.sparse.minor", "0"},
                              {"GNU.sparse.name", "s"},
                              {"GNU.sparse.realsize", "1152921504606846976"}}}})
                .code(),
            Code::limit);
}

TEST_F(Unpack, SparseFilesKeepTheirHoles) {
  // PAX 1.0: the map ("count, then offset and size of each piece") in the first block of the data
  std::string map = "1\n1048576\n5\n";
  map.resize(512, '\0');
  unpack({{.name = "GNUSparseFile.0/s",
           .content = map + "hello",
           .pax = {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "s"}, {"GNU.sparse.realsize", "2097152"}}}});
  const auto meta = look(at("s"));
  EXPECT_EQ(meta.st_size, 2097152);
  EXPECT_LT(meta.st_blocks, 64);
  EXPECT_EQ(slurp(at("s")).substr(1048576, 5), "hello");
}

TEST_F(Unpack, BrokenArchives) {
  const std::string good = tarOf({{.name = "f", .content = std::string(5000, 'x')}});
  EXPECT_EQ(refusalOf(good.substr(0, 700)).code(), Code::corrupt);
  EXPECT_EQ(refusalOf(good.substr(0, 300)).code(), Code::corrupt);
  EXPECT_EQ(refusalOf(std::string(2000, 'x')).code(), Code::corrupt);
  std::string flipped = good;
  flipped[3] ^= 1;
  EXPECT_EQ(refusalOf(flipped).code(), Code::corrupt);
}

TEST_F(Unpack, EmptyLayers) {
  EXPECT_EQ(unpackBytes(std::string(1024, '\0')).entries, 0u);
  EXPECT_EQ(unpackBytes(std::string()).entries, 0u);
}

TEST_F(Unpack, Cancelled) {
  const auto stream = streamText(tarOf({{.name = "f"}, {.name = "g"}}));
  const UniqueFd dir = openDir(root_);
  Watch watch;
  watch.check = [] { throw Error("image", Code::cancelled, "cancelled by the caller"); };
  EXPECT_THROW(unpackLayer(*stream, dir.get(), limits_, watch, "layer test"), Error);
}

}  // namespace
}  // namespace rauha::oci
