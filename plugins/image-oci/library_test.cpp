#include "plugins/image-oci/library.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "core/base/error.h"
#include "plugins/image-oci/test_image.h"

namespace rauha::oci {
namespace {

using namespace test;

const std::string kBase =
    tarOf({{.name = "etc/", .type = '5'}, {.name = "etc/motd", .content = "base"}, {.name = "bin/sh", .content = "#!", .mode = 0755}});
const std::string kTop = tarOf({{.name = "etc/", .type = '5'}, {.name = "etc/motd", .content = "top"}, {.name = "etc/.wh.old"}});

class Library : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
    std::filesystem::create_directory(temp_ / "state");
    open();
  }
  void open() { library_ = std::make_unique<ImageLibrary>(store_, limits_); }

  Resolved resolve(const std::string& reference, const std::string& lease = "", const Watch& watch = {}) {
    return call(reference, lease, "", &ImageLibrary::resolve, watch);
  }
  Resolved import(const std::string& reference, const std::string& name = "") {
    return call(reference, "", name, &ImageLibrary::importImage, {});
  }
  Resolved inspect(const std::string& reference) { return call(reference, "", "", &ImageLibrary::inspect, {}); }
  Error refusal(const std::string& reference, const std::string& lease = "") {
    try {
      resolve(reference, lease);
    } catch (const Error& e) {
      return e;
    }
    ADD_FAILURE() << reference << " was accepted";
    return Error("image", Code::none, "");
  }
  Resolved call(const std::string& reference, const std::string& lease, const std::string& name,
                Resolved (ImageLibrary::*f)(const Request&, const Watch&), const Watch& watch) {
    const Reference parsed = parseReference(reference);
    UniqueFd source;
    if (parsed.needsSource()) source.reset(::open(parsed.path.c_str(), O_RDONLY | O_CLOEXEC));
    Request request;
    request.reference = reference;
    request.sourceFd = source.get();
    request.lease = lease;
    request.name = name;
    return (*library_.*f)(request, watch);
  }
  size_t count(const std::string& part) const {
    const auto all = std::filesystem::directory_iterator(store_ + "/" + part);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  // Nothing half done is left, and nothing visible.
  void expectEmpty() const {
    for (const char* part : {"tmp", "layers", "images", "leases"}) EXPECT_EQ(count(part), 0u) << part;
  }
  std::string layout(const TestImage& image, const std::string& name = "image") {
    TestImage(image).writeLayout(temp_ / name);
    return "oci:" + temp_ / name;
  }

  TempDir temp_;
  std::string store_ = temp_ / "state/plugins/image-oci";
  Limits limits_;
  std::unique_ptr<ImageLibrary> library_;
};

TEST_F(Library, ResolvesALayout) {
  for (const char* compression : {"gzip", "zstd", "none"}) {
    const Resolved r = resolve(layout(TestImage({{kBase, compression}, {kTop, compression}}), compression));
    ASSERT_EQ(r.layers.size(), 2u);
    EXPECT_EQ(r.source, "oci");
    EXPECT_EQ(slurp(r.layers[0].path + "/etc/motd"), "base");
    EXPECT_EQ(slurp(r.layers[1].path + "/etc/motd"), "top");
    EXPECT_TRUE(isWhiteout(r.layers[1].path + "/etc/old"));
    EXPECT_EQ(r.bytes, 9u);
    EXPECT_FALSE(r.layers[0].ownerMapping);
    EXPECT_NE(r.configJson.find("/bin/sh"), std::string::npos);
    EXPECT_GT(r.createdNs, 0);
  }
  EXPECT_EQ(count("layers"), 2u);  // the same content, however it was packed
  EXPECT_EQ(count("tmp"), 0u);
}

TEST_F(Library, ResolvesArchives) {
  TestImage image({{kBase}, {kTop}});
  image.writeOciArchive(temp_ / "oci.tar");
  image.writeOciArchive(temp_ / "oci.tar.gz", "latest", "gzip");
  image.writeOciArchive(temp_ / "oci.tar.zst", "latest", "zstd");
  image.writeDockerArchive(temp_ / "docker.tar", "my/image:v1");
  for (const std::string& reference :
       {"oci-archive:" + temp_ / "oci.tar", "oci-archive:" + temp_ / "oci.tar.gz", "oci-archive:" + temp_ / "oci.tar.zst:latest",
        "docker-archive:" + temp_ / "docker.tar", "docker-archive:" + temp_ / "docker.tar:my/image:v1"}) {
    const Resolved r = resolve(reference);
    ASSERT_EQ(r.layers.size(), 2u) << reference;
    EXPECT_EQ(slurp(r.layers[1].path + "/etc/motd"), "top") << reference;
    EXPECT_EQ(r.digest.size(), 71u);
  }
  EXPECT_EQ(count("layers"), 2u);
  EXPECT_EQ(count("tmp"), 0u);
  EXPECT_EQ(refusal("docker-archive:" + temp_ / "docker.tar:other:v1").code(), Code::notFound);
  EXPECT_EQ(refusal("docker-archive:" + temp_ / "oci.tar").code(), Code::invalid);
  EXPECT_EQ(refusal("oci-archive:" + temp_ / "docker.tar").code(), Code::notFound);
  EXPECT_EQ(refusal("oci-archive:" + temp_ / "oci.tar:other").code(), Code::notFound);
}

TEST_F(Library, DockerArchivesAreVerifiedByDiffId) {
  TestImage image({{.tar = kBase, .diffId = sha256("something else")}});
  image.writeDockerArchive(temp_ / "docker.tar");
  EXPECT_EQ(refusal("docker-archive:" + temp_ / "docker.tar").code(), Code::corrupt);
  TestImage compressed({{.tar = kBase, .blob = packed(kBase, "gzip")}});
  compressed.writeDockerArchive(temp_ / "gz.tar");
  EXPECT_EQ(resolve("docker-archive:" + temp_ / "gz.tar").layers.size(), 1u);
}

TEST_F(Library, DamageIsNamedAndLeavesNothing) {
  const std::pair<const char*, TestLayer> bad[] = {
      {"digest mismatch", {.tar = kBase, .digest = sha256("another")}},
      {"its tar: digest mismatch", {.tar = kBase, .diffId = sha256("another")}},
      {"size mismatch", {.tar = kBase, .sizeOffset = 1}},
      {"size mismatch", {.tar = kBase, .sizeOffset = -1}},
      {"truncated gzip", {.tar = kBase, .blob = packed(kBase, "gzip").substr(0, 60)}},
      {"zstd", {.tar = kBase, .compression = "zstd", .blob = packed(kBase, "zstd").substr(0, 40)}},
      {"not a readable tar", {.tar = std::string(3000, 'x')}},
  };
  int number = 0;
  for (const auto& [why, layer] : bad) {
    const std::string reference = layout(TestImage({{kTop}, layer}), "bad" + std::to_string(number++));
    const Error e = refusal(reference, "zone_a");
    EXPECT_EQ(e.code(), Code::corrupt) << why << ": " << e.text();
    EXPECT_NE(e.text().find(why), std::string::npos) << e.text();
    EXPECT_EQ(count("images"), 0u);
    EXPECT_EQ(count("leases"), 0u);
    EXPECT_EQ(count("layers"), 1u);  // the good one below stays until it is collected
    EXPECT_EQ(count("tmp"), 0u);
  }
  library_->reconcile({});
  expectEmpty();
}

TEST_F(Library, MissingPieces) {
  EXPECT_EQ(refusal("oci:" + temp_ / "state").code(), Code::notFound);
  const std::string reference = layout(TestImage({{kBase}}));
  EXPECT_EQ(refusal(reference + ":nothere").code(), Code::notFound);
  std::filesystem::remove(temp_ / "image/blobs/sha256/" + sha256(packed(kBase, "gzip")).substr(7));
  const Error e = refusal(reference);
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_NE(e.text().find("layer sha256:"), std::string::npos) << e.text();
  spill(temp_ / "image/index.json", "<html>404</html>");
  EXPECT_NE(refusal(reference).text().find("HTML"), std::string::npos);
  EXPECT_EQ(refusal("oci-archive:" + temp_ / "image").code(), Code::invalid);
  spill(temp_ / "empty.tar", "");
  EXPECT_EQ(refusal("oci-archive:" + temp_ / "empty.tar").code(), Code::corrupt);
  EXPECT_EQ(refusal("oci:" + temp_ / "empty.tar").code(), Code::invalid);
  EXPECT_EQ(refusal("oci:" + temp_ / "gone").code(), Code::invalid);  // the client could not open it: no descriptor
}

TEST_F(Library, ChangedDocumentsAreNoticed) {
  TestImage image({{kBase}});
  image.writeLayout(temp_ / "image");
  spill(temp_ / "image/blobs/sha256/" + sha256(image.config).substr(7), image.config + " ");
  EXPECT_EQ(refusal("oci:" + temp_ / "image").code(), Code::corrupt);
  std::string changed = image.config;
  changed.replace(changed.find("/bin/sh"), 7, "/bin/su");
  spill(temp_ / "image/blobs/sha256/" + sha256(image.config).substr(7), changed);
  EXPECT_NE(refusal("oci:" + temp_ / "image").text().find("digest mismatch"), std::string::npos);
}

// What a layout's links lead to is read with nobody's rights.
TEST_F(Library, LinksInALayoutAreRefused) {
  const std::string reference = layout(TestImage({{kBase}}));
  std::filesystem::rename(temp_ / "image/index.json", temp_ / "elsewhere");
  std::filesystem::create_symlink(temp_ / "elsewhere", temp_ / "image/index.json");
  EXPECT_EQ(refusal(reference).code(), Code::invalid);
  std::filesystem::remove(temp_ / "image/index.json");
  ASSERT_EQ(mkfifo((temp_ / "image/index.json").c_str(), 0600), 0);
  EXPECT_EQ(refusal(reference).code(), Code::invalid);
}

// The daemon is root, who asks is not: a file that the caller may not read is not read for it.
TEST_F(Library, FilesAreOpenedWithTheCallersRights) {
  const std::string reference = layout(TestImage({{kBase}}));
  ASSERT_EQ(chmod((temp_ / "image/index.json").c_str(), 0600), 0);
  const UniqueFd dir = openDir(temp_ / "image");
  Request request;
  request.reference = reference;
  request.sourceFd = dir.get();
  request.caller = {12345, 12345};
  try {
    library_->resolve(request, {});
    FAIL() << "was read";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::denied) << e.text();
  }
  ASSERT_EQ(chmod((temp_ / "image/index.json").c_str(), 0644), 0);
  EXPECT_EQ(library_->resolve(request, {}).layers.size(), 1u);
}

TEST_F(Library, Bombs) {
  limits_.ratioFree = 1 << 20;
  open();
  const std::string zeros = tarOf({{.name = "zeros", .content = std::string(8 << 20, '\0')}});
  for (const char* compression : {"gzip", "zstd"}) {
    const Error e = refusal(layout(TestImage({{zeros, compression}}), compression));
    EXPECT_EQ(e.code(), Code::limit);
    EXPECT_NE(e.text().find("bomb"), std::string::npos) << e.text();
  }
  limits_.ratioFree = uint64_t{1} << 30;
  limits_.layerBytesMax = 1 << 20;
  open();
  EXPECT_EQ(refusal(layout(TestImage({{zeros}}), "plain")).code(), Code::limit);
  library_->reconcile({});
  expectEmpty();
}

// Headers without entries: the tar grows without one file being made.
TEST_F(Library, HeaderBomb) {
  limits_.layerBytesMax = 1 << 20;
  limits_.entriesMax = 100;
  open();
  TarWriter tar;
  for (int i = 0; i < 50; ++i) tar.add({.name = "f" + std::to_string(i), .pax = {{"comment", std::string(100'000, 'c')}}});
  EXPECT_EQ(refusal(layout(TestImage({{tar.finish()}}))).code(), Code::limit);
}

// A sparse file's map is one piece for four bytes, and is held in memory: it is a header like any other.
TEST_F(Library, SparseMapBomb) {
  std::string map = std::to_string(2 << 20) + "\n";
  for (int i = 0; i < 2 << 20; ++i) map += "0\n0\n";
  const TarEntry entry{
      .name = "GNUSparseFile.0/s",
      .content = map + std::string(512 - map.size() % 512, '\0'),
      .pax = {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "s"}, {"GNU.sparse.realsize", "5"}}};
  const Error layer = refusal(layout(TestImage({{tarOf({entry})}})));
  EXPECT_EQ(layer.code(), Code::limit);
  EXPECT_NE(layer.text().find("headers"), std::string::npos) << layer.text();
  spill(temp_ / "archive.tar", tarOf({entry}));
  for (const char* kind : {"oci-archive:", "docker-archive:"}) {
    const Error archive = refusal(kind + temp_ / "archive.tar");
    EXPECT_NE(archive.text().find("headers"), std::string::npos) << archive.text();
  }
  // Content is none of it.
  const std::string long3 = tarOf({{.name = "f", .content = std::string(3 << 20, 'x')}, {.name = "g"}});
  EXPECT_EQ(resolve(layout(TestImage({{long3}}), "long")).layers.size(), 1u);
  EXPECT_EQ(count("tmp"), 0u);
}

// Links lead from one deep folder into the next, so that the tree is deeper than any name: it is refused, and must go again.
TEST_F(Library, ATreeDeeperThanItsNames) {
  std::string deep = "d";
  for (int i = 1; i < 200; ++i) deep += "/d";
  TarWriter tar;
  std::string into;
  for (int i = 0; i < 5; ++i) {
    tar.add({.name = into + deep + "/", .type = '5'});
    const std::string link = "l" + std::to_string(i);
    tar.add({.name = link, .type = '2', .link = into + deep});
    into = link + "/";
  }
  EXPECT_EQ(refusal(layout(TestImage({{tar.finish()}}))).code(), Code::limit);
  EXPECT_EQ(count("tmp"), 0u);
  library_->reconcile({});
  expectEmpty();
}

TEST_F(Library, NestedIndexesAndPlatforms) {
  TestImage image({{kBase}});
  image.writeLayout(temp_ / "image");
  const auto wrap = [&](const std::string& inner, const char* type) {
    return R"({"schemaVersion":2,"manifests":[{"mediaType":")" + std::string(type) + R"(","digest":")" + sha256(inner) + R"(","size":)" +
           std::to_string(inner.size()) + "}]}";
  };
  std::string document = image.manifest;
  const char* type = "application/vnd.oci.image.manifest.v1+json";
  for (int depth = 1; depth <= 6; ++depth) {
    document = wrap(document, type);
    type = "application/vnd.oci.image.index.v1+json";
    spill(temp_ / "image/blobs/sha256/" + sha256(document).substr(7), document);
    spill(temp_ / "image/index.json", document);
    if (depth <= 5)
      EXPECT_EQ(resolve("oci:" + temp_ / "image").layers.size(), 1u) << depth;
    else
      EXPECT_EQ(refusal("oci:" + temp_ / "image").code(), Code::limit);
  }
}

TEST_F(Library, ForeignPlatforms) {
  TestImage image({{kBase}});
  const size_t at = image.config.find(R"("linux")");
  std::string config = image.config;
  config.replace(at, 7, R"("plan9")");
  image.manifest.replace(image.manifest.find(sha256(image.config)), 71, sha256(config));
  image.config = config;
  image.writeLayout(temp_ / "image");
  const Error e = refusal("oci:" + temp_ / "image");
  EXPECT_EQ(e.code(), Code::unsupported);
  EXPECT_NE(e.text().find("plan9"), std::string::npos) << e.text();
}

TEST_F(Library, NothingIsReadTwice) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}));
  const Resolved first = resolve(reference);
  std::filesystem::remove_all(temp_ / "image/blobs");
  const Resolved again = resolve(reference);
  EXPECT_EQ(again.digest, first.digest);
  EXPECT_EQ(again.createdNs, first.createdNs);
  open();  // a new process
  EXPECT_EQ(resolve(reference).layers[1].path, first.layers[1].path);
}

// A manifest may claim any diff_id for its blob: the pair is checked once, even if the layer is there already.
TEST_F(Library, AKnownLayerDoesNotVouchForAnotherBlob) {
  resolve(layout(TestImage({{kBase}}), "good"));
  const std::string evil = tarOf({{.name = "evil", .content = "x"}});
  EXPECT_EQ(refusal(layout(TestImage({{.tar = evil, .diffId = sha256(kBase)}}), "evil")).code(), Code::corrupt);
  EXPECT_EQ(resolve(layout(TestImage({{kBase, "zstd"}}), "repacked")).layers.size(), 1u);
  EXPECT_EQ(count("layers"), 1u);
}

TEST_F(Library, EqualLayersAndOpaqueRoots) {
  const std::string opaque = tarOf({{.name = "./.wh..wh..opq"}, {.name = "only", .content = "1"}});
  EXPECT_EQ(resolve(layout(TestImage({{kBase}, {kTop}, {kBase}}), "twice")).layers.size(), 2u);
  const Resolved r = resolve(layout(TestImage({{kBase}, {opaque}, {kTop}}), "opaque"));
  ASSERT_EQ(r.layers.size(), 2u);
  EXPECT_EQ(slurp(r.layers[0].path + "/only"), "1");
  EXPECT_EQ(refusal(layout(TestImage({}), "none")).code(), Code::invalid);
}

TEST_F(Library, Directories) {
  std::filesystem::create_directory(temp_ / "rootfs");
  const UniqueFd dir = openDir(temp_ / "rootfs");
  Request request;
  const std::string reference = "dir:" + temp_ / "rootfs";
  request.reference = reference;
  EXPECT_THROW(library_->resolve(request, {}), Error);  // no descriptor
  request.sourceFd = dir.get();
  for (uint32_t uid : {0u, 1000u}) {
    request.caller = {uid, uid};
    const Resolved r = library_->resolve(request, {});
    ASSERT_EQ(r.layers.size(), 1u);
    EXPECT_EQ(r.layers[0].directoryFd, dir.get());
    EXPECT_EQ(r.layers[0].ownerMapping, uid != 0);
    EXPECT_TRUE(r.configJson.empty());
    EXPECT_TRUE(r.digest.empty());
  }
  spill(temp_ / "file", "x");
  EXPECT_EQ(refusal("dir:" + temp_ / "file").code(), Code::invalid);
}

TEST_F(Library, ImportListInspectRemove) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}), "python");
  EXPECT_EQ(import(reference).reference, "python:latest");
  EXPECT_EQ(import(reference, "mine/py:3.12").reference, "mine/py:3.12");
  EXPECT_THROW(import(reference, "Not A Name"), Error);
  EXPECT_THROW(import("host"), Error);
  EXPECT_THROW(import("python"), Error);
  std::filesystem::remove_all(temp_ / "python");  // from here on the store alone
  const Resolved r = resolve("mine/py:3.12", "zone_1");
  EXPECT_EQ(r.reference, "mine/py:3.12");
  ASSERT_EQ(r.layers.size(), 2u);
  EXPECT_EQ(slurp(r.layers[1].path + "/etc/motd"), "top");
  const std::vector<Resolved> all = library_->list();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].reference, "mine/py:3.12");
  EXPECT_EQ(all[1].reference, "python:latest");
  EXPECT_EQ(all[0].layers.size(), 2u);
  EXPECT_EQ(inspect("python").bytes, 9u);
  EXPECT_EQ(inspect("python").createdNs, all[1].createdNs);

  try {
    library_->remove("mine/py:3.12");
    FAIL() << "removed what a zone uses";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::busy);
    EXPECT_NE(e.text().find("zone_1"), std::string::npos) << e.text();
  }
  library_->release("zone_1");
  library_->release("zone_1");
  library_->remove("mine/py:3.12");
  EXPECT_EQ(count("layers"), 2u);
  library_->remove("python");
  expectEmpty();
  EXPECT_EQ(count("blobs/sha256"), 0u);
  try {
    library_->remove("python");
    FAIL() << "removed it twice";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::notFound);
  }
}

TEST_F(Library, InspectDoesNotUnpack) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}));
  const Resolved r = inspect(reference);
  EXPECT_EQ(r.layers.size(), 2u);
  EXPECT_NE(r.configJson.find("/bin/sh"), std::string::npos);
  EXPECT_EQ(count("layers"), 0u);
  EXPECT_EQ(count("images"), 0u);
}

TEST_F(Library, AMovedTagLetsGoOfTheOldImage) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}), "a");
  resolve(reference, "zone_1");
  TestImage({{kBase}, {tarOf({{.name = "new"}})}}).writeLayout(temp_ / "a");
  resolve(reference);
  EXPECT_EQ(count("layers"), 3u);  // the zone still has the old one
  library_->release("zone_1");
  EXPECT_EQ(count("layers"), 2u);
}

TEST_F(Library, ReconcileKeepsWhatLives) {
  resolve(layout(TestImage({{kBase}}), "a"), "zone_1");
  resolve(layout(TestImage({{kTop}}), "b"), "zone_2");
  std::filesystem::create_directories(store_ + "/tmp/layer-" + std::string(64, 'f') + "/fs/etc");
  std::filesystem::create_symlink("/etc", store_ + "/tmp/layer-" + std::string(64, 'f') + "/fs/link");
  spill(store_ + "/tmp/blob_x", "half");
  spill(store_ + "/leases/op_dead", "{}");
  library_->reconcile({"zone_2"});
  EXPECT_EQ(count("tmp"), 0u);
  EXPECT_EQ(count("leases"), 1u);
  EXPECT_EQ(count("locks"), 0u);
  EXPECT_EQ(count("layers"), 2u);
  EXPECT_TRUE(exists("/etc/passwd"));
  library_->remove("oci:" + temp_ / "a");
  EXPECT_EQ(count("layers"), 1u);
}

// Leases are not made durable: a loss of power may leave an empty file under their name. The store must start again.
TEST_F(Library, LeasesThatALossOfPowerCutOff) {
  resolve(layout(TestImage({{kBase}})), "zone_1");
  const std::string lease = std::filesystem::directory_iterator(store_ + "/leases")->path();
  for (const char* left : {"", "{\"owner\":\"zo", "[]"}) {
    spill(lease, left);
    library_->reconcile({});
    EXPECT_EQ(count("leases"), 0u) << left;
  }
  // What one of a living zone keeps is not guessed at.
  spill(lease, "");
  EXPECT_THROW(library_->reconcile({"zone_1"}), Error);
  EXPECT_EQ(count("layers"), 1u);
}

TEST_F(Library, APolicysRegistriesHoldForEachWayToAnImage) {
  import(layout(TestImage({{ kBase }})), "python:3.12");
  Request request;
  const std::string name = "python:3.12";
  request.reference = name;
  request.registries = {"oci"};
  EXPECT_EQ(library_->resolve(request, {}).source, "oci");
  request.pull = Pull::always;  // the stored one came from where it may; what would come now does not
  try {
    library_->resolve(request, {});
    ADD_FAILURE() << "was fetched";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::denied) << e.text();
    EXPECT_NE(e.text().find("docker.io"), std::string::npos) << e.text();
  }
}

TEST_F(Library, LeaseNamesAreChecked) {
  const std::string reference = layout(TestImage({{kBase}}));
  for (const char* lease : {"../x", "a/b", "a.b", "op_x", "A"}) {
    EXPECT_EQ(refusal(reference, lease).code(), Code::invalid) << lease;
    EXPECT_THROW(library_->release(lease), Error) << lease;
  }
}

TEST_F(Library, CancelledInTheMiddle) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}));
  for (int step = 0; step < 12; ++step) {
    int left = step;
    Watch watch;
    watch.check = [&] {
      if (left-- == 0) throw Error("image", Code::cancelled, "cancelled by the caller");
    };
    try {
      resolve(reference, "zone_1", watch);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::cancelled);
    }
    EXPECT_EQ(count("tmp"), 0u);
    library_->release("zone_1");
    library_->reconcile({});
  }
}

TEST_F(Library, ManyAtOnce) {
  const std::string reference = layout(TestImage({{kBase}, {kTop}}));
  std::vector<std::thread> threads;
  threads.reserve(16);
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        const std::string zone = "zone_" + std::to_string(i);
        good += resolve(reference, zone).layers.size() == 2;
        if (i == 0)
          library_->reconcile({"zone_0", "zone_1", "zone_2", "zone_3", "zone_4", "zone_5", "zone_6", "zone_7", "zone_8", "zone_9",
                               "zone_10", "zone_11", "zone_12", "zone_13", "zone_14", "zone_15"});
        library_->release(zone);
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 80);
  library_->reconcile({});
  EXPECT_EQ(count("layers"), 2u);
  EXPECT_EQ(count("tmp"), 0u);
  EXPECT_EQ(count("leases"), 0u);
}

TEST_F(Library, AStoreThatOthersCanReadIsRefused) {
  ASSERT_EQ(chmod(store_.c_str(), 0755), 0);
  EXPECT_THROW(open(), Error);
}

}  // namespace
}  // namespace rauha::oci
