// Tars in, archives out, and the look at what is stored.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "core/base/error.h"
#include "plugins/image-oci/library.h"
#include "plugins/image-oci/test_image.h"

namespace rauha::oci {
namespace {

using namespace test;

const std::string kBase =
    tarOf({{.name = "etc/", .type = '5'}, {.name = "etc/motd", .content = "base"}, {.name = "bin/sh", .content = "#!", .mode = 0755}});
const std::string kTop = tarOf({{.name = "etc/", .type = '5'}, {.name = "etc/motd", .content = "top"}, {.name = "etc/.wh.old"}});

struct Pair {
  Pair() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    mine.reset(ends[0]);
    theirs.reset(ends[1]);
  }
  UniqueFd mine, theirs;
};

class Formats : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: owners, whiteouts and trusted xattrs";
    std::filesystem::create_directory(temp_ / "state");
    open(true);
  }
  void open(bool keepBlobs) { library_ = std::make_unique<ImageLibrary>(store_, Limits{}, RegistrySettings{}, keepBlobs); }

  Resolved import(const std::string& reference, const std::string& name) {
    const Reference parsed = parseReference(reference);
    const UniqueFd source(::open(parsed.path.c_str(), O_RDONLY | O_CLOEXEC));
    Request request;
    request.reference = reference;
    request.sourceFd = source.get();
    request.name = name;
    return library_->importImage(request, {});
  }
  std::string layout(const TestImage& image, const std::string& name = "image") {
    TestImage(image).writeLayout(temp_ / name);
    return "oci:" + temp_ / name;
  }
  // The archive's bytes; whatever is thrown comes out.
  std::string exported(const std::string& reference, const std::string& tag = {}) {
    Pair pair;
    std::string out;
    std::thread reader([&] {
      char buffer[4096];
      for (ssize_t n; (n = read(pair.mine.get(), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
    });
    const Defer joined([&] {
      pair.theirs.reset();
      reader.join();
    });
    Request request;
    request.reference = reference;
    request.name = tag;
    library_->exportImage(request, pair.theirs.get(), {});
    pair.theirs.reset();
    reader.join();
    reader = std::thread([] {});
    return out;
  }
  template <typename F>
  Error refusal(F&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e;
    }
    ADD_FAILURE() << "was accepted";
    return Error("image", Code::none, "");
  }
  std::vector<Check> verify(const std::string& reference = {}) {
    Request request;
    request.reference = reference;
    return library_->verify(request, {});
  }
  // Those that are not good; "kind state" of each.
  std::vector<std::string> faults(const std::vector<Check>& checks) {
    static const char* const kStates[] = {"good", "damaged", "missing", "unknown"};
    std::vector<std::string> out;
    for (const Check& c : checks) {
      if (c.state == Check::State::good) continue;
      out.push_back(c.kind + " " + kStates[static_cast<int>(c.state)]);
      EXPECT_NE(c.text, "");
      EXPECT_TRUE(c.state == Check::State::unknown || !c.remedy.empty()) << c.text;
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  void damage(const std::string& path) {
    std::string content = slurp(path);
    ASSERT_FALSE(content.empty()) << path;
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string blob(const std::string& digest) const { return store_ + "/blobs/sha256/" + digest.substr(7); }
  size_t count(const std::string& part) const {
    const auto all = std::filesystem::directory_iterator(store_ + "/" + part);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  void expectNothingHalfDone() const {
    EXPECT_EQ(count("tmp"), 0u);
    EXPECT_EQ(count("leases"), 0u);
  }

  TempDir temp_;
  std::string store_ = temp_ / "state/plugins/image-oci";
  std::unique_ptr<ImageLibrary> library_;
};

using List = std::vector<std::string>;

TEST_F(Formats, AnExportIsWhatWasImported) {
  for (const char* compression : {"gzip", "zstd", "none"}) {
    const TestImage image({{kBase, compression}, {kTop, compression}});
    const Resolved imported = import(layout(image, compression), std::string("one:") + compression);
    const std::string archive = exported(std::string("one:") + compression);
    EXPECT_EQ(archive, exported(std::string("one:") + compression)) << "the same image, the same archive";
    spill(temp_ / "out.tar", archive);
    const Resolved back = import("oci-archive:" + temp_ / "out.tar:" + compression, "back:1");
    EXPECT_EQ(back.digest, imported.digest);
    for (size_t i = 0; i < back.layers.size(); ++i) EXPECT_EQ(back.layers[i].record.digest, imported.layers[i].record.digest);
  }
  expectNothingHalfDone();
}

TEST_F(Formats, AnExportUnderAnotherTag) {
  import(layout(TestImage({{ kBase }})), "one:1");
  EXPECT_NE(exported("one:1").find("\"org.opencontainers.image.ref.name\":\"1\""), std::string::npos);
  EXPECT_NE(exported("one:1", "other").find("\"org.opencontainers.image.ref.name\":\"other\""), std::string::npos);
  EXPECT_EQ(refusal([&] { exported("one:1", "-bad"); }).code(), Code::invalid);
  EXPECT_EQ(refusal([&] { exported("none:1"); }).code(), Code::notFound);
  const Error e = refusal([&] { exported("oci:/nowhere"); });
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_NE(e.hint().find("image import"), std::string::npos);
}

TEST_F(Formats, ADockerArchiveCanBeExported) {
  TestImage({{kBase}, {kTop}}).writeDockerArchive(temp_ / "docker.tar", "my/image:v1");
  const Resolved imported = import("docker-archive:" + temp_ / "docker.tar", "mine:1");
  spill(temp_ / "out.tar", exported("mine:1"));
  EXPECT_EQ(import("oci-archive:" + temp_ / "out.tar", "back:1").digest, imported.digest);
}

TEST_F(Formats, WhatWasNotKeptIsRefusedByName) {
  open(false);
  const std::string reference = layout(TestImage({{kBase}, {kTop}}));
  const Resolved image = import(reference, "one:1");
  Error e = refusal([&] { exported("one:1"); });
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_NE(e.text().find(image.layers[0].record.digest + " and 1 more"), std::string::npos) << e.text();
  EXPECT_NE(e.hint().find("keep_blobs = true"), std::string::npos) << e.hint();
  EXPECT_EQ(faults(verify()), (List{"layer unknown", "layer unknown"}));
  // The remedy that is named is one.
  open(true);
  e = refusal([&] { exported("one:1"); });
  EXPECT_EQ(e.hint(), "rauha image import " + reference + " --name one:1 reads it again");
  import(reference, "one:1");
  EXPECT_FALSE(exported("one:1").empty());
  EXPECT_EQ(faults(verify()), List{});
  expectNothingHalfDone();
}

TEST_F(Formats, ADamagedBlobEndsTheExport) {
  const Resolved image = import(layout(TestImage({{kBase}})), "one:1");
  damage(blob(image.layers[0].record.digest));
  const Error e = refusal([&] { exported("one:1"); });
  EXPECT_EQ(e.code(), Code::corrupt);
  EXPECT_NE(e.text().find(image.layers[0].record.digest), std::string::npos) << e.text();
  expectNothingHalfDone();
}

TEST_F(Formats, AReceiverThatGoesAwayOrIsNone) {
  import(layout(TestImage({{ tarOf({{.name = "big", .content = std::string(4 << 20, 'x') }}), "none" }})), "one:1");
  Request request;
  request.reference = "one:1";
  {
    Pair pair;
    pair.mine.reset();
    EXPECT_EQ(refusal([&] { library_->exportImage(request, pair.theirs.get(), {}); }).code(), Code::io);
  }
  {
    Pair pair;  // nobody reads: only giving up ends it
    std::atomic<int> asked{0};
    Watch watch;
    watch.check = [&] {
      if (++asked > 40) throw Error("image", Code::cancelled, "enough");
    };
    EXPECT_EQ(refusal([&] { library_->exportImage(request, pair.theirs.get(), watch); }).code(), Code::cancelled);
  }
  const UniqueFd file(::open((temp_ / "file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(refusal([&] { library_->exportImage(request, file.get(), {}); }).code(), Code::invalid);
  EXPECT_EQ(slurp(temp_ / "file"), "");
  expectNothingHalfDone();
}

TEST_F(Formats, VerifyOfAWholeStore) {
  import(layout(TestImage({{kBase}, { kTop }}), "a"), "one:1");
  import(layout(TestImage({{ kBase, "zstd" }}), "b"), "two:1");
  const auto checks = verify();
  EXPECT_EQ(faults(checks), List{});
  // Two records, two manifests, two configurations, three blobs, two layers.
  EXPECT_EQ(checks.size(), 11u);
  const auto one = verify("one:1");
  EXPECT_EQ(faults(one), List{});
  EXPECT_EQ(refusal([&] { verify("none:1"); }).code(), Code::notFound);
  expectNothingHalfDone();
}

TEST_F(Formats, VerifyFindsEachKindOfDamage) {
  const Resolved image = import(layout(TestImage({{kBase}, {kTop}}), "a"), "one:1");
  import(layout(TestImage({{ kBase }}), "b"), "two:1");
  const std::string motd = image.layers[0].path + "/etc/motd";

  damage(motd);
  auto checks = verify();
  EXPECT_EQ(faults(checks), List{"layer damaged"});
  const auto bad = std::find_if(checks.begin(), checks.end(), [](const Check& c) { return c.state != Check::State::good; });
  EXPECT_EQ(bad->digest, image.layers[0].record.diffId);
  EXPECT_NE(bad->text.find("etc/motd"), std::string::npos) << bad->text;
  EXPECT_EQ(bad->images, (List{"one:1", "two:1"})) << "who shares it loses it too";
  EXPECT_EQ(faults(verify("two:1")), List{"layer damaged"});
  spill(motd, "base");
  chmod(motd.c_str(), 0777);
  EXPECT_NE(faults(verify()), List{}) << "mode and time";
}

TEST_F(Formats, VerifyFindsDamageOfDocumentsAndBlobs) {
  const Resolved image = import(layout(TestImage({{kBase}, {kTop}})), "one:1");
  const std::string layer = blob(image.layers[1].record.digest), whole = slurp(layer);
  damage(layer);
  EXPECT_EQ(faults(verify()), (List{"blob damaged", "layer unknown"}));
  std::ofstream(layer, std::ios::binary) << whole.substr(0, whole.size() / 2);
  EXPECT_EQ(faults(verify()), (List{"blob damaged", "layer unknown"})) << "cut off";
  std::ofstream(layer, std::ios::binary) << whole;
  EXPECT_EQ(faults(verify()), List{});
  damage(blob(image.digest));
  EXPECT_EQ(faults(verify()), List{"manifest damaged"});
  std::filesystem::remove(blob(image.digest));
  EXPECT_EQ(faults(verify()), List{"manifest missing"});
  std::filesystem::remove_all(store_ + "/layers/" + image.layers[0].record.diffId.substr(7));
  EXPECT_EQ(faults(verify()), (List{"layer missing", "manifest missing"}));
  expectNothingHalfDone();
}

TEST_F(Formats, VerifyReadsRecordsToo) {
  import(layout(TestImage({{ kBase }}), "a"), "one:1");
  import(layout(TestImage({{ kTop }}), "b"), "two:1");
  std::string record;
  for (const auto& entry : std::filesystem::directory_iterator(store_ + "/images"))
    if (slurp(entry.path()).find("one:1") != std::string::npos) record = entry.path();
  std::string text = slurp(record);
  const std::string right = "\"size\":";
  text.insert(text.find(right) + right.size(), "1");
  spill(record, text);
  const auto lying = verify();
  EXPECT_NE(std::find_if(lying.begin(), lying.end(), [](const Check& c) { return c.kind == "record" && c.state == Check::State::damaged; }),
            lying.end());
  spill(record, "{");
  const auto checks = verify();
  const auto bad = std::find_if(checks.begin(), checks.end(), [](const Check& c) { return c.state == Check::State::damaged; });
  ASSERT_NE(bad, checks.end());
  EXPECT_EQ(bad->path, record);
}

TEST_F(Formats, VerifyFindsDamagedRecordsOfLayers) {
  const Resolved image = import(layout(TestImage({{kBase}})), "one:1");
  const std::string record = store_ + "/layers/" + image.layers[0].record.diffId.substr(7) + "/layer.json";
  for (const char* text : {"", "[]", "7", R"({"blobs":[1]})", R"({"notes":[{}]})", R"({"opaque_root":"x"})"}) {
    spill(record, text);
    open(true);
    EXPECT_EQ(faults(verify()), List{"layer damaged"}) << text;
  }
  library_->remove("one:1");
  EXPECT_EQ(count("layers"), 0u);
}

TEST_F(Formats, StraysAreLookedAtWhenEverythingIs) {
  import(layout(TestImage({{ kBase }})), "one:1");
  spill(blob(sha256("stray")), "stray");
  EXPECT_EQ(faults(verify()), List{});
  spill(blob(sha256("stray")), "other");
  EXPECT_EQ(faults(verify()), List{"blob damaged"});
  EXPECT_EQ(faults(verify("one:1")), List{});
  library_->prune(false);
  EXPECT_EQ(faults(verify()), List{});
}

TEST_F(Formats, BlobsGoWithTheirImage) {
  import(layout(TestImage({{kBase}, { kTop }})), "one:1");
  EXPECT_EQ(count("blobs/sha256"), 4u);
  library_->remove("one:1");
  EXPECT_EQ(count("blobs/sha256"), 0u);
}

TEST_F(Formats, ARootTarIsAnImageOfOneLayer) {
  const std::string tar = tarOf({{.name = "./", .type = '5'},
                                 {.name = "./etc/", .type = '5'},
                                 {.name = "./etc/motd", .content = "hello"},
                                 {.name = "./bin/sh", .content = "#!", .mode = 0755}});
  const std::pair<const char*, const char*> kinds[] = {{"plain.tar", nullptr}, {"a.tar.gz", "gzip"}, {"a.tar.zst", "zstd"}};
  std::string diffId;
  for (const auto& [file, compression] : kinds) {
    spill(temp_ / file, compression == nullptr ? tar : packed(tar, compression));
    const Resolved image = import("tar:" + temp_ / file, "root:1");
    EXPECT_EQ(image.source, "tar");
    ASSERT_EQ(image.layers.size(), 1u);
    EXPECT_EQ(image.layers[0].record.digest, sha256(slurp(temp_ / file)));
    EXPECT_EQ(image.layers[0].record.diffId, sha256(tar)) << "what it unpacks to is one layer, however it was packed";
    EXPECT_EQ(slurp(image.layers[0].path + "/etc/motd"), "hello");
    EXPECT_EQ(import("tar:" + temp_ / file, "again:1").digest, image.digest) << "the same file, the same image";
    spill(temp_ / "out.tar", exported("root:1"));
    EXPECT_EQ(import("oci-archive:" + temp_ / "out.tar", "back:1").digest, image.digest);
  }
  EXPECT_EQ(count("layers"), 1u);
  EXPECT_EQ(faults(verify()), List{});
  expectNothingHalfDone();
}

TEST_F(Formats, BadTars) {
  const std::string tar = tarOf({{.name = "etc/motd", .content = std::string(5000, 'x')}, {.name = "bin/sh", .content = "#!"}});
  const auto code = [&](const std::string& content) {
    spill(temp_ / "bad.tar", content);
    return refusal([&] { import("tar:" + temp_ / "bad.tar", "bad:1"); }).code();
  };
  EXPECT_EQ(code(""), Code::corrupt);
  EXPECT_EQ(code("hello"), Code::corrupt);
  for (size_t size : {512u, 1024u, 3000u, 512u + 5120u, 512u + 5120u + 512u}) EXPECT_EQ(code(tar.substr(0, size)), Code::corrupt) << size;
  for (const char* compression : {"gzip", "zstd"}) {
    const std::string whole = packed(tar, compression);
    const Code cut = code(whole.substr(0, whole.size() / 2));
    EXPECT_TRUE(cut == Code::corrupt || cut == Code::invalid) << compression;
  }
  EXPECT_EQ(code(std::string(10240, '\0')), Code::invalid) << "holds no files";
  EXPECT_NE(code(tarOf({{.name = "../out", .content = "x"}})), Code::none);
  EXPECT_EQ(refusal([&] { import("tar:" + temp_.path(), "bad:1"); }).code(), Code::invalid);
  EXPECT_EQ(count("images"), 0u);
  EXPECT_EQ(count("layers"), 0u);
  expectNothingHalfDone();
  Request request;
  const std::string reference = "tar:" + temp_ / "bad.tar";
  request.reference = reference;
  EXPECT_EQ(refusal([&] { library_->resolve(request, {}); }).code(), Code::unsupported);
  EXPECT_EQ(refusal([&] { library_->inspect(request, {}); }).code(), Code::unsupported);
}

}  // namespace
}  // namespace rauha::oci
