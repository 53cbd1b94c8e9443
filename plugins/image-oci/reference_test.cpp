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
}

TEST(Reference, RegistryNames) {
  struct Case {
    const char *text, *domain, *repository, *tag, *name;
  };
  const std::string digest = "sha256:" + std::string(64, 'a');
  const std::string pinned = "alpine@" + digest, both = "localhost:5000/x:1@" + digest, bothName = "localhost:5000/x@" + digest;
  const Case cases[] = {
      {"alpine", "docker.io", "library/alpine", "latest", "alpine:latest"},
      {"docker.io/library/alpine:3", "docker.io", "library/alpine", "3", "alpine:3"},
      {"docker.io/alpine", "docker.io", "library/alpine", "latest", "alpine:latest"},
      {"index.docker.io/me/app", "docker.io", "me/app", "latest", "me/app:latest"},
      {"me/app:X", "docker.io", "me/app", "X", "me/app:X"},
      {"localhost/x", "localhost", "x", "latest", "localhost/x:latest"},
      {"localhost:5000/x", "localhost:5000", "x", "latest", "localhost:5000/x:latest"},
      {"quay.io/a/b/c:1", "quay.io", "a/b/c", "1", "quay.io/a/b/c:1"},
      {"[::1]:5000/x", "[::1]:5000", "x", "latest", "[::1]:5000/x:latest"},
      {pinned.c_str(), "docker.io", "library/alpine", "latest", pinned.c_str()},
      {both.c_str(), "localhost:5000", "x", "1", bothName.c_str()},
      {"docker.io/a.b/c", "docker.io", "a.b/c", "latest", "docker.io/a.b/c:latest"},
      {"docker.io/localhost/c:1", "docker.io", "localhost/c", "1", "docker.io/localhost/c:1"},
      {"localhost:5000", "docker.io", "library/localhost", "5000", "localhost:5000"},
  };
  for (const Case& c : cases) {
    const Reference r = parseReference(c.text);
    EXPECT_EQ(r.kind, Kind::stored) << c.text;
    EXPECT_EQ(r.domain, c.domain) << c.text;
    EXPECT_EQ(r.repository, c.repository) << c.text;
    EXPECT_EQ(r.tag, c.tag) << c.text;
    EXPECT_EQ(r.name, c.name) << c.text;
  }
  EXPECT_EQ(parseReference(both).digest, digest);
  for (const Case& c : cases) EXPECT_EQ(parseReference(c.name).name, c.name);
  EXPECT_EQ(refusal("library/oci").code(), Code::invalid);
  EXPECT_EQ(refusal("docker.io/library/host:1").code(), Code::invalid);
}

TEST(Reference, WhatNoRegistryAccepts) {
  for (const char* text : {"alpine", "a/b-c_d.e/f:X", "a__b", "a---b"}) EXPECT_EQ(registryFault(parseReference(text)), "") << text;
  for (const char* text : {"a..b", "a-", "a_/b", "a___b", "a._b"}) EXPECT_NE(registryFault(parseReference(text)), "") << text;
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
      {"x:0/z", "has a port that is none"},
      {"x:65536/z", "has a port that is none"},
      {"LOCALHOST:5000/x", "lower case"},
      {"Quay.io/x", "lower case"},
      {"a_b.c/x", "no host name"},
      {"a..b/x", "no host name"},
      {"[::1/x", "no [address]:port"},
      {"localhost:5000//x", "empty"},
      {"localhost:5000/", "name is empty"},
      {"localhost:5000/x:", "tag after ':' is empty"},
      {"x:1@sha256:abc", "no digest"},
      {"x@md5:00", "no digest"},
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
  for (const char* text : {"docker://python", "http://x", "docker-daemon:x", "containers-storage:x", "ostree:x", "https://x/y"})
    EXPECT_EQ(refusal(text).code(), Code::unsupported) << text;
}

TEST(Reference, ASlipOfALocalKindIsNamed) {
  const std::pair<const char*, const char*> slips[] = {{"hots", "did you mean 'host'?"},
                                                       {"hosts", "did you mean 'host'?"},
                                                       {"dri:/srv/x", "did you mean 'dir:PATH'?"},
                                                       {"oci-archiv:x.tar", "did you mean 'oci-archive:PATH'?"},
                                                       {"docker-archve:x", "did you mean 'docker-archive:PATH'?"}};
  for (const auto& [text, meant] : slips) EXPECT_EQ(meantKind(text).rfind(meant, 0), 0u) << text << ": " << meantKind(text);
  for (const char* text : {"python:3.12", "hots:1", "alpine"}) EXPECT_EQ(meantKind(text), "") << text;
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
