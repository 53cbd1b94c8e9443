#include "plugins/image-oci/reference.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace rauha::oci {
namespace {

using Kind = Reference::Kind;

Error refusal(std::string_view text) {
  try {
    const Reference r = parseReference(text);
    ADD_FAILURE() << text << " was accepted as " << r.source() << " " << r.path << " " << r.name;
  } catch (const Error& e) {
    return e;
  }
  return Error("image", Code::none, "");
}

TEST(Reference, Host) {
  EXPECT_EQ(parseReference("host").kind, Kind::host);
  EXPECT_EQ(refusal("host:latest").code(), Code::invalid);
}

TEST(Reference, Directory) {
  const Reference r = parseReference("dir:/srv/root:with:colons");
  EXPECT_EQ(r.kind, Kind::dir);
  EXPECT_EQ(r.path, "/srv/root:with:colons");
}

struct Cut {
  const char* text;
  Kind kind;
  const char* path;
  const char* tag;
};

TEST(Reference, PathAndTag) {
  const Cut cuts[] = {
      {"oci:dir", Kind::oci, "dir", ""},
      {"oci:./dir:1.0", Kind::oci, "./dir", "1.0"},
      {"oci:/a/b:c/d", Kind::oci, "/a/b:c/d", ""},
      {"oci:/a/b:c/d:tag", Kind::oci, "/a/b:c/d", "tag"},
      {"oci-archive:/x/y.tar", Kind::ociArchive, "/x/y.tar", ""},
      {"oci-archive:y.tar:v2", Kind::ociArchive, "y.tar", "v2"},
      {"docker-archive:/x/y.tar", Kind::dockerArchive, "/x/y.tar", ""},
      {"docker-archive:y.tar:name:tag", Kind::dockerArchive, "y.tar", "name:tag"},
      {"docker-archive:y.tar:docker.io/library/name:tag", Kind::dockerArchive, "y.tar", "docker.io/library/name:tag"},
      {"docker-archive:y.tar:some/name", Kind::dockerArchive, "y.tar", "some/name"},
  };
  for (const Cut& c : cuts) {
    const Reference r = parseReference(c.text);
    EXPECT_EQ(r.kind, c.kind) << c.text;
    EXPECT_EQ(r.path, c.path) << c.text;
    EXPECT_EQ(r.tag, c.tag) << c.text;
  }
}

TEST(Reference, Digest) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  const Reference r = parseReference("oci:/x/dir@" + digest);
  EXPECT_EQ(r.path, "/x/dir");
  EXPECT_EQ(r.digest, digest);
  EXPECT_EQ(refusal("oci:/x/dir@sha256:abc").code(), Code::invalid);
  EXPECT_EQ(parseReference("oci:/x/d@ir").path, "/x/d@ir");
}

TEST(Reference, StoredNames) {
  EXPECT_EQ(parseReference("python").name, "python:latest");
  EXPECT_EQ(parseReference("python:3.12").name, "python:3.12");
  EXPECT_EQ(parseReference("a/b-c_d.e/f:X").name, "a/b-c_d.e/f:X");
  EXPECT_EQ(parseReference("python:3.12").kind, Kind::stored);
  EXPECT_EQ(parseReference("localhost:5000/x").kind, Kind::registry);
  EXPECT_EQ(parseReference("x@sha256:" + std::string(64, '0')).kind, Kind::registry);
}

TEST(Reference, MalformedOnesSayWhy) {
  const std::pair<std::string, const char*> bad[] = {
      {"", "empty"},
      {"oci:", "no path"},
      {"oci::tag", "no path"},
      {"dir:", "no path"},
      {"oci:dir:", "no tag"},
      {"oci:dir:.tag", "no tag"},
      {"oci:dir:" + std::string(129, 'a'), "no tag"},
      {"Python:3", "lower case"},
      {"oci", "kind of reference"},
      {"dir", "kind of reference"},
      {"docker-daemon", "kind of reference"},
      {"python:", "tag after ':' is empty"},
      {"a//b", "empty"},
      {"../x", "starts with"},
      {"/etc/passwd", "empty"},
      {".hidden", "starts with"},
      {"-x", "starts with"},
      {"a b", "consists of"},
      {"a\nb", "control"},
      {std::string("a\0b", 3), "control"},
      {"oci:/x\x01", "control"},
      {"a@b", "no digest"},
      {"x:y/z", "no host:port"},
      {std::string(5000, 'a'), "bytes long"},
      {std::string(300, 'a'), "longer than 255"},
      {"dir:/" + std::string(4200, 'a'), "longer than 4095"},
  };
  for (const auto& [text, why] : bad) {
    const Error e = refusal(text);
    EXPECT_EQ(e.code(), Code::invalid) << text;
    EXPECT_NE(e.text().find(why), std::string::npos) << e.text();
  }
}

TEST(Reference, ForeignTransportsAreNamed) {
  for (const char* text : {"docker://python", "docker-daemon:x", "containers-storage:x", "ostree:x", "https://x/y"})
    EXPECT_EQ(refusal(text).code(), Code::unsupported) << text;
}

TEST(Reference, RegistryRefusalTellsTheWay) {
  try {
    refuseRegistry("python:3.12");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::unsupported);
    EXPECT_EQ(e.text(), "registry references are not supported yet: 'python:3.12'");
    EXPECT_NE(e.hint().find("skopeo copy docker://docker.io/library/python:3.12 oci:DIR"), std::string::npos) << e.hint();
  }
  for (const auto& [text, full] :
       {std::pair{"foo/bar", "docker://docker.io/foo/bar"}, std::pair{"quay.io/foo/bar:1", "docker://quay.io/foo/bar:1"},
        std::pair{"docker://x", "docker://docker.io/library/x"}})
    try {
      refuseRegistry(text);
    } catch (const Error& e) {
      EXPECT_NE(e.hint().find(std::string("skopeo copy ") + full + " "), std::string::npos) << e.hint();
    }
}

TEST(Reference, ASlipOfALocalKindIsNamed) {
  const std::pair<const char*, const char*> slips[] = {{"hots", "did you mean 'host'?"},
                                                       {"hosts", "did you mean 'host'?"},
                                                       {"dri:/srv/x", "did you mean 'dir:PATH'?"},
                                                       {"oci-archiv:x.tar", "did you mean 'oci-archive:PATH'?"},
                                                       {"docker-archve:x", "did you mean 'docker-archive:PATH'?"}};
  const auto hint = [](const char* text) {
    try {
      refuseRegistry(text);
    } catch (const Error& e) {
      return e.hint();
    }
    return std::string();
  };
  for (const auto& [text, meant] : slips) EXPECT_EQ(hint(text).rfind(meant, 0), 0u) << text << ": " << hint(text);
  for (const char* text : {"python:3.12", "hots:1", "alpine"}) EXPECT_EQ(hint(text).rfind("copy it once", 0), 0u) << text;
}

TEST(Reference, NamesMadeFromReferences) {
  EXPECT_EQ(nameFor(parseReference("oci:/a/My Image:1")), "my-image:1");
  EXPECT_EQ(nameFor(parseReference("oci-archive:/a/python.tar:3.12")), "python:3.12");
  EXPECT_EQ(nameFor(parseReference("docker-archive:/a/x.tar:python:3")), "python:3");
  EXPECT_EQ(nameFor(parseReference("docker-archive:/a/x.tar.gz")), "x:latest");
  EXPECT_EQ(nameFor(parseReference("oci:web/")), "web:latest");
  EXPECT_EQ(nameFor(parseReference("oci:/x/oci:1")), "oci-image:1");
  EXPECT_THROW(nameFor(parseReference("oci:/...")), Error);
  EXPECT_THROW(parseStoredName("host:1"), Error);
}

}  // namespace
}  // namespace rauha::oci
