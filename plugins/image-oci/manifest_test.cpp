#include "plugins/image-oci/manifest.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/digest.h"
#include "core/base/error.h"

namespace rauha::oci {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a'), kOther = "sha256:" + std::string(64, 'b');
const Platform kHost{"linux", "amd64", ""};

Error refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "was accepted";
  return Error("image", Code::none, "");
}

std::string descriptor(const std::string& type, const std::string& more = "", const std::string& digest = kDigest) {
  return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":7)" + more + "}";
}
std::string manifestWith(const std::string& config, const std::string& layers) {
  return R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + layers + "]}";
}
const std::string kConfig = descriptor("application/vnd.oci.image.config.v1+json");
const std::string kLayer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip");
std::string indexWith(const std::string& entries) { return R"({"schemaVersion":2,"manifests":[)" + entries + "]}"; }
std::string entry(const std::string& tag, const std::string& platform = "", const std::string& digest = kDigest) {
  std::string more;
  if (!tag.empty()) more += R"(,"annotations":{"org.opencontainers.image.ref.name":")" + tag + R"("})";
  if (!platform.empty())
    more += R"(,"platform":{"os":")" + platform.substr(0, platform.find('/')) + R"(","architecture":")" +
            platform.substr(platform.find('/') + 1) + R"("})";
  return descriptor("application/vnd.oci.image.manifest.v1+json", more, digest);
}
IndexEntry choose(const std::string& entries, std::string_view tag, bool nested = false) {
  return chooseEntry(parseIndex(indexWith(entries), "index"), tag, nested, kHost, "index");
}

TEST(Manifest, Oci) {
  const Manifest m = parseManifest(manifestWith(kConfig, kLayer + "," + kLayer), "m");
  EXPECT_EQ(m.config.digest, kDigest);
  ASSERT_EQ(m.layers.size(), 2u);
  EXPECT_EQ(m.layers[1].mediaType, "application/vnd.oci.image.layer.v1.tar+gzip");
  EXPECT_EQ(m.layers[1].size, 7u);
}

TEST(Manifest, Docker) {
  const Manifest m = parseManifest(R"({"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":)" +
                                       descriptor("application/vnd.docker.container.image.v1+json") + R"(,"layers":[)" +
                                       descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip") + "]}",
                                   "m");
  EXPECT_EQ(m.layers.size(), 1u);
}

TEST(Manifest, SchemaOneIsRefusedByName) {
  for (const char* text : {R"({"schemaVersion":1,"name":"x","fsLayers":[]})", R"({"schemaVersion":1})",
                           R"({"mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"})"}) {
    const Error e = refusal([&] { parseManifest(text, "m"); });
    EXPECT_EQ(e.code(), Code::unsupported);
    EXPECT_NE(e.text().find("schema 1"), std::string::npos) << e.text();
  }
}

TEST(Manifest, UnknownMediaTypes) {
  EXPECT_EQ(refusal([] { parseManifest(manifestWith(kConfig, descriptor("application/vnd.oci.image.layer.v1.tar+lz5")), "m"); }).code(),
            Code::unsupported);
  EXPECT_EQ(refusal([] {
              parseManifest(manifestWith(kConfig, descriptor("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), "m");
            }).code(),
            Code::unsupported);
  EXPECT_EQ(refusal([] { parseManifest(manifestWith(descriptor("application/vnd.cncf.helm.config.v1+json"), kLayer), "m"); }).code(),
            Code::unsupported);
  EXPECT_EQ(refusal([] { parseManifest(R"({"schemaVersion":2,"mediaType":"text/html"})", "m"); }).code(), Code::unsupported);
  EXPECT_EQ(refusal([] { parseManifest(R"({"schemaVersion":3})", "m"); }).code(), Code::unsupported);
  EXPECT_EQ(refusal([] {
              parseManifest(
                  manifestWith(kConfig, descriptor("application/vnd.oci.image.layer.v1.tar", "", "sha512:" + std::string(128, 'a'))), "m");
            }).code(),
            Code::unsupported);
}

TEST(Manifest, WrongTypesNameTheMember) {
  const std::pair<std::string, const char*> bad[] = {
      {"[]", "array, not an object"},
      {"null", "null, not an object"},
      {R"({"schemaVersion":"2"})", "'schemaVersion' is string"},
      {R"({"schemaVersion":2})", "no 'config'"},
      {R"({"schemaVersion":2,"config":7})", "'config' is number"},
      {R"({"schemaVersion":2,"config":{}})", "no digest"},
      {manifestWith(kConfig, "7"), "a descriptor is number"},
      {R"({"schemaVersion":2,"config":)" + kConfig + "}", "no 'layers'"},
      {R"({"schemaVersion":2,"config":)" + kConfig + R"(,"layers":{}})", "'layers' is object"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":")" + kDigest + R"("})"), "has no size"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":")" + kDigest + R"(","size":-1})"), "'size' is number"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":")" + kDigest + R"(","size":1.5})"), "'size' is number"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":")" + kDigest + R"(","size":18446744073709551615})"), "has size"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":"sha256:../../etc/passwd","size":1})"), "is not sha256"},
      {manifestWith(kConfig, R"({"mediaType":"x","digest":"sha256:)" + std::string(64, 'A') + R"(","size":1})"), "is not sha256"},
  };
  for (const auto& [text, why] : bad) {
    const Error e = refusal([&t = text] { parseManifest(t, "m"); });
    EXPECT_EQ(e.code(), Code::invalid) << text;
    EXPECT_NE(e.text().find(why), std::string::npos) << e.text();
  }
}

TEST(Manifest, Limits) {
  std::string layers = kLayer;
  for (int i = 0; i < 9999; ++i) layers += "," + kLayer;
  EXPECT_EQ(refusal([&] { parseManifest(manifestWith(kConfig, layers), "m"); }).code(), Code::limit);
  EXPECT_EQ(refusal([&] { parseManifest(std::string((4u << 20) + 1, ' '), "m"); }).code(), Code::limit);
  EXPECT_EQ(refusal([&] { parseManifest(std::string(2'000'000, '['), "m"); }).code(), Code::limit);
  std::string wide = "[0";
  for (int i = 0; i < 1'000'000; ++i) wide += ",0";
  EXPECT_EQ(refusal([&] { parseManifest(wide + "]", "m"); }).code(), Code::limit);
  EXPECT_EQ(refusal([] {
              parseManifest(
                  manifestWith(R"({"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" + kDigest + R"(","size":99999999})",
                               kLayer),
                  "m");
            }).code(),
            Code::limit);
}

TEST(Manifest, NotJson) {
  EXPECT_NE(refusal([] { parseManifest("<!DOCTYPE html><html>404</html>", "m"); }).text().find("HTML"), std::string::npos);
  EXPECT_NE(refusal([] { parseManifest("", "m"); }).text().find("empty"), std::string::npos);
  EXPECT_NE(refusal([] { parseManifest("404 page not found", "m"); }).text().find("'404 page not fou'"), std::string::npos);
  EXPECT_EQ(refusal([] { parseManifest("{\"schemaVersion\":2,\"config\":\"\xff\xfe\"}", "m"); }).code(), Code::invalid);
  EXPECT_EQ(refusal([] { parseManifest(R"({"schemaVersion":2} trailing)", "m"); }).code(), Code::invalid);
}

TEST(Index, ByTag) {
  const std::string two = entry("a", "", kDigest) + "," + entry("b", "", kOther);
  EXPECT_EQ(choose(two, "b").descriptor.digest, kOther);
  EXPECT_EQ(choose(entry("only"), "").refName, "only");
  EXPECT_EQ(choose(two + "," + entry("latest"), "").refName, "latest");
  const Error none = refusal([&] { choose(two, "c"); });
  EXPECT_EQ(none.code(), Code::notFound);
  EXPECT_NE(none.hint().find("a, b"), std::string::npos) << none.hint();
  const Error which = refusal([&] { choose(two, ""); });
  EXPECT_EQ(which.code(), Code::invalid);
  EXPECT_NE(which.hint().find("a, b"), std::string::npos);
  EXPECT_EQ(refusal([] { choose("", ""); }).code(), Code::notFound);
}

TEST(Index, ByPlatform) {
  const std::string both = entry("x", "linux/arm64", kOther) + "," + entry("x", "linux/amd64");
  EXPECT_EQ(choose(both, "x").descriptor.digest, kDigest);
  EXPECT_EQ(choose(both, "", true).descriptor.digest, kDigest);
  const Error e = refusal([] { choose(entry("", "windows/amd64") + "," + entry("", "linux/s390x"), "", true); });
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_NE(e.hint().find("windows/amd64, linux/s390x"), std::string::npos) << e.hint();
  // An exact platform goes before an entry that says nothing.
  EXPECT_EQ(choose(entry("", "", kOther) + "," + entry("", "linux/amd64"), "", true).descriptor.digest, kDigest);
}

TEST(Index, AttestationsAreNoImages) {
  const std::string record = descriptor(
      "application/vnd.oci.image.manifest.v1+json",
      R"(,"annotations":{"vnd.docker.reference.type":"attestation-manifest"},"platform":{"os":"unknown","architecture":"unknown"})",
      kOther);
  EXPECT_EQ(choose(record + "," + entry("", "linux/amd64"), "").descriptor.digest, kDigest);
}

TEST(Index, Limits) {
  std::string many = entry("a");
  for (int i = 0; i < 2000; ++i) many += "," + entry("a");
  EXPECT_EQ(refusal([&] { parseIndex(indexWith(many), "i"); }).code(), Code::limit);
  EXPECT_EQ(refusal([] { parseIndex(R"({"schemaVersion":2})", "i"); }).code(), Code::invalid);
}

TEST(Config, DiffIdsAndTypes) {
  const std::string rootfs = R"("rootfs":{"type":"layers","diff_ids":[")" + kDigest + R"("]})";
  const Config c =
      parseConfig(R"({"os":"linux","architecture":"amd64",)" + rootfs + R"(,"config":{"Env":["A=b"],"Cmd":null,"WorkingDir":"/x"}})", "c");
  EXPECT_EQ(c.diffIds, std::vector<std::string>{kDigest});
  EXPECT_EQ(c.platform.text(), "linux/amd64");
  for (const char* bad : {R"("Env":"A")", R"("Env":[7])", R"("Cmd":{})", R"("Entrypoint":[null])", R"("User":0)", R"("WorkingDir":[])",
                          R"("Labels":[])", R"("Volumes":"x")"})
    EXPECT_EQ(refusal([&] { parseConfig("{" + rootfs + R"(,"config":{)" + bad + "}}", "c"); }).code(), Code::invalid) << bad;
  for (const char* bad : {"{}", R"({"rootfs":[]})", R"({"rootfs":{"type":"base"}})", R"({"rootfs":{"type":"layers","diff_ids":["x"]}})",
                          R"({"rootfs":{"type":"layers","diff_ids":[7]}})"})
    EXPECT_EQ(refusal([&] { parseConfig(bad, "c"); }).code(), Code::invalid) << bad;
}

TEST(Config, MatchesTheManifest) {
  Manifest m;
  m.layers.resize(2);
  Config c;
  c.platform = kHost;
  c.diffIds = {kDigest};
  EXPECT_NE(refusal([&] { checkMatch(m, c, kHost, "i"); }).text().find("2 layers, the configuration 1 diff_ids"), std::string::npos);
  c.diffIds.push_back(kOther);
  checkMatch(m, c, kHost, "i");
  c.platform = {"windows", "amd64", ""};
  EXPECT_EQ(refusal([&] { checkMatch(m, c, kHost, "i"); }).code(), Code::unsupported);
  c.platform = {"linux", "arm64", ""};
  EXPECT_EQ(refusal([&] { checkMatch(m, c, kHost, "i"); }).code(), Code::unsupported);
  c.platform = {};  // old docker images say nothing
  checkMatch(m, c, kHost, "i");
}

}  // namespace
}  // namespace rauha::oci
