// The adapters against plugins that keep the contract and plugins that break it, through real shared objects.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rauha/backend.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "tests/abi/loaded_registry.h"

namespace rauha::plugin {
namespace {

template <typename F>
Error errorOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error("none", Code::none, "no error");
}

size_t openDescriptors() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

class GoodBackendTest : public testing::Test {
 protected:
  GoodBackendTest() {
    fixture.install("good-backend");
    fixture.enable("good-backend");
    backend = &fixture.load().backend();
  }
  ZoneSpec spec(const std::string& id) {
    ZoneSpec s;
    s.id = id;
    s.hostname = "box";
    return s;
  }
  LoadedRegistry fixture;
  Backend* backend = nullptr;
  CallOptions options;
};

TEST_F(GoodBackendTest, Probe) {
  std::string progress;
  options.progress = [&](std::string_view what, uint64_t done, uint64_t total) {
    progress = std::string(what) + std::to_string(done) + std::to_string(total);
  };
  const auto layers = backend->probe(options);
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].name, "seccomp");
  EXPECT_EQ(layers[0].state, LayerState::full);
  EXPECT_EQ(layers[1].state, LayerState::partial);
  EXPECT_EQ(layers[1].reason, "buffered writes are not counted");
  EXPECT_EQ(layers[1].remedy, "boot with cgroup v2");
  EXPECT_EQ(progress, "probing12");
}

TEST_F(GoodBackendTest, CreateCarriesTheWholeSpec) {
  ZoneSpec s = spec("zone_a");
  s.ephemeral = true;
  s.network = ZoneNetwork::host;
  s.records = {{RAUHA_ZONE_MEMORY_BYTES, 1u << 30, ""}, {RAUHA_ZONE_CAPABILITY, 0, "chown"}};
  const ZoneHandle handle = backend->createZone(options, s);
  char text[8] = {};
  EXPECT_EQ(read(handle.agent.get(), text, sizeof text), 5);
  EXPECT_STREQ(text, "hello");
  EXPECT_EQ(handle.shimPid, 4242);
  EXPECT_EQ(handle.idBase, 0x70000000u);
  EXPECT_EQ(handle.idCount, 65536u);
  ASSERT_EQ(handle.layers.size(), 1u);
  EXPECT_EQ(handle.layers[0].detail, "1,2,box;3:1073741824::1;10:0:chown:1");
}

TEST_F(GoodBackendTest, ErrorsOfThePlugin) {
  Error e = errorOf([&] { backend->createZone(options, spec("zone_exists")); });
  EXPECT_EQ(e.errorClass(), "backend");
  EXPECT_EQ(e.code(), Code::exists);
  EXPECT_EQ(e.text(), "zone zone_exists is there already");
  EXPECT_EQ(e.hint(), "delete it");
  e = errorOf([&] { backend->createZone(options, spec("zone_foreign")); });
  EXPECT_EQ(e.code(), Code::internal);
  EXPECT_EQ(e.text(), "a library threw");
  EXPECT_EQ(errorOf([&] { backend->connectZone(options, "zone_a"); }).text(), "zone zone_a has no shim");
  EXPECT_EQ(errorOf([&] { backend->checkZone(options, "zone_a"); }).code(), Code::conflict);
  ZoneSpec s = spec("zone_a");
  s.records = {{RAUHA_ZONE_CAPABILITY, 0, "chown"}};
  EXPECT_EQ(errorOf([&] { backend->updateZone(options, s); }).text(), "record 10 cannot change on a living zone");
}

TEST_F(GoodBackendTest, HostFunctionsFromAThreadOfThePlugin) { EXPECT_TRUE(backend->createZone(options, spec("zone_thread")).agent); }

TEST_F(GoodBackendTest, CancelReachesARunningCall) {
  options.cancel = std::make_shared<CancelToken>();
  std::thread canceller([token = options.cancel] { token->cancel(); });
  const Error e = errorOf([&] { backend->destroyZone(options, "zone_wait"); });
  canceller.join();
  EXPECT_EQ(e.code(), Code::cancelled);
}

TEST_F(GoodBackendTest, EventsArrive) {
  backend->destroyZone(options, "zone_a");
  ASSERT_EQ(fixture.events.size(), 1u);
  EXPECT_EQ(fixture.events[0].plugin, "good-backend");
  EXPECT_EQ(fixture.events[0].name, "zone.destroyed");
  EXPECT_EQ(fixture.events[0].zoneId, "zone_a");
  EXPECT_EQ(fixture.events[0].attributes[0].first, "zone");
}

TEST_F(GoodBackendTest, Reconcile) {
  const auto findings = backend->reconcile(options, {"zone_a", "zone_b"});
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[1].zoneId, "zone_b");
  EXPECT_EQ(findings[1].object, "process 1");
  EXPECT_EQ(findings[1].action, "adopted");
}

class LyingBackendTest : public testing::Test {
 protected:
  LyingBackendTest() {
    fixture.install("lying-backend");
    fixture.enable("lying-backend");
    backend = &fixture.load().backend();
  }
  std::string text(const std::string& id) {
    ZoneSpec s;
    s.id = id;
    const size_t before = openDescriptors();
    const Error e = errorOf([&] { backend->createZone(options, s); });
    // A descriptor that is no socket is not ours to close.
    EXPECT_EQ(openDescriptors(), before + (id == "zone_filefd" ? 1 : 0)) << id;
    EXPECT_EQ(e.code(), e.code() == Code::none ? Code::none : Code::internal) << id;
    return e.text();
  }
  int timesDestroyed() {
    return std::stoi(errorOf([&] { backend->checkZone(options, "x"); }).text().substr(10));
  }
  LoadedRegistry fixture;
  Backend* backend = nullptr;
  CallOptions options;
};

TEST_F(LyingBackendTest, AGoodAnswerIsTakenAndClosedOnExec) {
  ZoneSpec s;
  s.id = "zone_good";
  const ZoneHandle handle = backend->createZone(options, s);
  EXPECT_NE(fcntl(handle.agent.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(timesDestroyed(), 0);
}

TEST_F(LyingBackendTest, Statuses) {
  EXPECT_EQ(text("zone_silent"), "lying-backend: zone_create returned INTERNAL without a message");
  EXPECT_EQ(text("zone_status"), "own trouble (lying-backend status 4711)");
  EXPECT_EQ(text("zone_negative"), "own trouble (lying-backend status -1)");
  EXPECT_EQ(timesDestroyed(), 0);  // the plugin said itself that it failed
}

TEST_F(LyingBackendTest, Descriptors) {
  const std::string begin = "lying-backend: zone_create: returned OK, but agent_fd_take";
  EXPECT_EQ(text("zone_nofd"), begin + " -1 is not an open socket");
  EXPECT_EQ(text("zone_closedfd"), begin + " 900 is not an open socket");
  EXPECT_EQ(text("zone_stdio"), begin + " 1 is not an open socket");
  EXPECT_NE(text("zone_filefd").find("is not an open socket"), std::string::npos);
  EXPECT_EQ(text("zone_dgram"), begin + " is not a stream socket");
  EXPECT_EQ(timesDestroyed(), 5);  // what it claims to have built is taken down
  EXPECT_EQ(errorOf([&] { backend->connectZone(options, "zone_x"); }).text(),
            "lying-backend: zone_connect: returned OK, but agent_fd_take -1 is not an open socket");
  EXPECT_EQ(timesDestroyed(), 5);  // a connection that failed does not end a zone
}

TEST_F(LyingBackendTest, Handles) {
  const std::string begin = "lying-backend: zone_create: ";
  EXPECT_EQ(text("zone_size"), begin + "says that the zone handle has 4000 bytes, the daemon gave room for 32");
  EXPECT_EQ(text("zone_flags"), begin + "the zone handle has unknown flag bits 4");
  EXPECT_EQ(text("zone_cgroup"), begin + "returned OK, but cgroup_fd_take 900 is not an open directory");
  EXPECT_EQ(text("zone_pid"), begin + "returned OK with the shim's pid -7");
  EXPECT_EQ(text("zone_init"), begin + "returned OK with the shim's pid 1");
  EXPECT_EQ(text("zone_ids"), begin + "returned OK with the host ids 4294967290 and 65536 on from there");
  EXPECT_EQ(text("zone_root"), begin + "returned OK with the host ids 0 and 65536 on from there");
}

TEST_F(LyingBackendTest, Layers) {
  const std::string begin = "lying-backend: zone_create: ";
  EXPECT_EQ(text("zone_layer_null"), begin + "a layer is null");
  EXPECT_EQ(text("zone_layer_small"), begin + "a layer says that it has 8 bytes, expected 80 to 4096");
  EXPECT_EQ(text("zone_layer_huge"), begin + "a layer says that it has 1073741824 bytes, expected 80 to 4096");
  EXPECT_EQ(text("zone_layer_tail"), "no error");  // facts: a newer plugin may report more than we know
  EXPECT_EQ(text("zone_layer_flags"), begin + "a layer has unknown flag bits 2");
  EXPECT_EQ(text("zone_layer_state"), begin + "layer seccomp has the unknown state 9");
  EXPECT_EQ(text("zone_layer_name"), begin + "a layer's name \"Sec comp\" is not [a-z0-9_]");
  EXPECT_EQ(text("zone_layer_null_name"), begin + "a layer's name is a null pointer with a length of 5");
  EXPECT_EQ(text("zone_layer_flood"), begin + "pushed more than 64 layers");
  EXPECT_EQ(errorOf([&] { backend->reconcile(options, {}); }).text(), "lying-backend: reconcile: a finding has unknown flag bits 1");
}

class GoodImageTest : public testing::Test {
 protected:
  GoodImageTest() {
    fixture.install("good-image");
    fixture.enable("good-image");
    images = &fixture.load().images();
  }
  static ImageRequest request(const std::string& reference) {
    ImageRequest r;
    r.reference = reference;
    return r;
  }
  LoadedRegistry fixture;
  ImageSource* images = nullptr;
  CallOptions options;
};

TEST_F(GoodImageTest, LayersByPathAndByDescriptor) {
  const ResolvedImage image = images->resolve(options, request("alpine"));
  EXPECT_EQ(image.info.reference, "alpine");
  EXPECT_EQ(image.info.digest, "sha256:" + std::string(64, 'a'));
  EXPECT_EQ(image.info.configJson, "{\"architecture\":\"amd64\"}");
  EXPECT_EQ(image.info.size, 77u);
  ASSERT_EQ(image.layers.size(), 2u);
  EXPECT_EQ(image.layers[0].path, "/store/layers/1");
  EXPECT_FALSE(image.layers[0].directory);
  EXPECT_EQ(image.layers[0].mapping, LayerMapping::zone);
  EXPECT_EQ(image.layers[1].path, "");
  EXPECT_EQ(image.layers[1].mapping, LayerMapping::owner);
  struct stat ours {
  }, root{};
  ASSERT_EQ(fstat(image.layers[1].directory.get(), &ours), 0);  // still open although the plugin closed its own
  ASSERT_EQ(stat("/", &root), 0);
  EXPECT_EQ(ours.st_ino, root.st_ino);
}

TEST_F(GoodImageTest, Mounts) {
  const ResolvedImage image = images->inspect(options, request("host"));
  ASSERT_EQ(image.mounts.size(), 5u);
  EXPECT_TRUE(image.mounts[0].optional);
  EXPECT_TRUE(image.mounts[0].exec);
  EXPECT_EQ(image.mounts[0].kind, MountKind::bind);
  EXPECT_EQ(image.mounts[1].kind, MountKind::symlink);
  EXPECT_EQ(image.mounts[1].source, "usr/bin");
  EXPECT_EQ(image.mounts[2].source, std::string("a\0b", 3));
  EXPECT_EQ(image.mounts[3].number, 01777u);
  EXPECT_EQ(image.mounts[4].kind, MountKind::tmpfs);
}

TEST_F(GoodImageTest, TheRest) {
  EXPECT_EQ(images->list(options).size(), 2u);
  images->release(options, "zone_a");
  images->remove(options, "first");
  Error e = errorOf([&] { images->remove(options, "used"); });
  EXPECT_EQ(e.errorClass(), "image");
  EXPECT_EQ(e.code(), Code::busy);
  e = errorOf([&] { images->resolve(options, request("missing")); });
  EXPECT_EQ(e.code(), Code::notFound);
  EXPECT_EQ(e.text(), "image missing is not in the store");
  EXPECT_EQ(errorOf([&] { images->importImage(options, request("a")); }).text(), "no source was given");
  ImageRequest r = request("a");
  const UniqueFd source(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  r.sourceFd = source.get();
  EXPECT_EQ(images->importImage(options, r).info.reference, "a");
  images->reconcile(options, {"zone_a", "zone_b"});
  EXPECT_EQ(errorOf([&] { images->reconcile(options, {}); }).text(), "expected 2 leases, got 0");
}

class LyingImageTest : public testing::Test {
 protected:
  LyingImageTest() {
    fixture.install("lying-image");
    fixture.enable("lying-image");
    images = &fixture.load().images();
  }
  std::string text(const std::string& reference, const std::string& lease = {}) {
    ImageRequest r;
    r.reference = reference;
    r.lease = lease;
    const size_t before = openDescriptors();
    const std::string full = errorOf([&] { images->resolve(options, r); }).text();
    EXPECT_EQ(openDescriptors(), before) << reference;
    const std::string begin = "lying-image: resolve: ";
    return full.rfind(begin, 0) == 0 ? full.substr(begin.size()) : full;
  }
  LoadedRegistry fixture;
  ImageSource* images = nullptr;
  CallOptions options;
};

TEST_F(LyingImageTest, HowMany) {
  EXPECT_EQ(text("good"), "no error");
  EXPECT_EQ(text("none"), "returned OK with 0 images, expected 1");
  EXPECT_EQ(text("two"), "returned OK with 2 images, expected 1");
  EXPECT_EQ(text("early"), "pushed a layer before the image's info");
}

TEST_F(LyingImageTest, Infos) {
  EXPECT_EQ(text("info_config"), "an image's configuration has 4194305 bytes, at most 4194304");
  EXPECT_EQ(text("info_reference"), "an image's reference is not UTF-8");
  EXPECT_EQ(text("info_digest"), "an image's digest \"md5:1\" is not sha256: and 64 hex digits");
  EXPECT_EQ(errorOf([&] { images->list(options); }).text(), "lying-image: list: pushed more than 33554432 bytes of text");
}

TEST_F(LyingImageTest, Layers) {
  EXPECT_EQ(text("layer_relative"), "an image layer's path \"etc\" is not an absolute path without \"..\"");
  EXPECT_EQ(text("layer_climbs"), "an image layer's path \"/store/../etc\" is not an absolute path without \"..\"");
  EXPECT_EQ(text("layer_nul"), "an image layer's path has NUL bytes");
  EXPECT_EQ(text("layer_both"), "an image layer has both a path and a directory_fd_borrow");
  EXPECT_EQ(text("layer_neither"), "a layer's directory_fd_borrow -1 is not an open directory");
  EXPECT_NE(text("layer_file").find("is not an open directory"), std::string::npos);
  EXPECT_EQ(text("layer_mapping"), "an image layer has the unknown id mapping 3");
  EXPECT_EQ(text("layer_digest"), "an image layer's digest \"sha256:../../etc\" is not sha256: and 64 hex digits");
  EXPECT_EQ(text("layer_size"), "an image layer says that it has 20 bytes, expected 88 to 4096");
  EXPECT_EQ(text("layer_null"), "an image layer is null");
  EXPECT_EQ(text("layer_flood"), "pushed more than 500 layers of one image");
}

TEST_F(LyingImageTest, Checks) {
  const auto refused = [&](const char* how) {
    ImageRequest r;
    r.reference = how;
    const std::string full = errorOf([&] { images->verify(options, r); }).text(), begin = "lying-image: verify: ";
    EXPECT_EQ(full.substr(0, begin.size()), begin);
    return full.substr(std::min(full.size(), begin.size()));
  };
  EXPECT_EQ(refused("check_state"), "an image check has the unknown state 9");
  EXPECT_EQ(refused("check_flags"), "an image check has unknown flag bits 1");
  EXPECT_EQ(refused("check_digest"), "an image check's digest \"sha256:../x\" is not sha256: and 64 hex digits");
  EXPECT_EQ(refused("check_size"), "an image check says that it has 40 bytes, expected 120 to 4096");
  EXPECT_EQ(refused("check_images"), "an image check's images are no array");
  EXPECT_EQ(refused("check_stride"), "an image check's images are no array");
  EXPECT_EQ(refused("check_null"), "an image check is null");
  EXPECT_EQ(refused("check_flood"), "pushed more than 100000 checks");
  ImageRequest r;
  const auto checks = images->verify(options, r);
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].state, CheckState::damaged);
  EXPECT_EQ(checks[0].text, "it is broken");
  EXPECT_EQ(checks[0].kind.find_first_of("\n\x1b"), std::string::npos);
  // The same answers are refused of an export.
  r.reference = "none";
  r.targetFd = 0;
  EXPECT_EQ(errorOf([&] { images->exportImage(options, r); }).text(), "lying-image: export_image: returned OK with 0 images, expected 1");
}

TEST_F(LyingImageTest, Mounts) {
  EXPECT_EQ(text("mount_flags"), "an image mount has unknown flag bits 8");
  EXPECT_EQ(text("mount_tail"), "an image mount has 64 bytes and uses those beyond the 56 that this daemon (ABI 1.1) knows");
  EXPECT_EQ(text("mount_kind"), "an image mount has the unknown kind 77");
  EXPECT_EQ(text("mount_target"), "an image mount's target \"etc\" is not an absolute path without \"..\"");
  EXPECT_EQ(text("mount_source"), "a bind mount's source \"../etc\" is not an absolute path without \"..\"");
  EXPECT_EQ(text("mount_file"), "file /usr has 70000 bytes, at most 65536");
  EXPECT_EQ(text("mount_mode"), "directory /usr has the mode 4096");
  EXPECT_EQ(text("mount_link"), "link /usr has no text");
  EXPECT_EQ(text("mount_flood"), "pushed more than 1024 mounts of one image");
}

TEST_F(LyingImageTest, ALeaseOfABrokenAnswerIsGivenBack) {
  text("two", "zone_a");
  EXPECT_EQ(text("released"), "released 1");
}

}  // namespace
}  // namespace rauha::plugin
