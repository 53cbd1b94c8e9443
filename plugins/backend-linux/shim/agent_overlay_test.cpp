// Overlay mounts: a host directory that the zone may write to as it likes, and that stays as it was. Needs root.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "plugins/backend-linux/shim/testing/agent_fixture.h"

namespace rauha::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr const char* kTarget = "/workspace";

MountWriter overlay(int base, uint32_t uid = 1000, uint32_t gid = 1000, std::vector<std::string> lower = {}) {
  return [=](schema::Mount::Builder m) {
    repository(base, kTarget, false, uid, gid)(m);
    m.setOverlay(true);
    auto list = m.initLower(static_cast<unsigned>(lower.size()));
    for (unsigned i = 0; i < list.size(); ++i) list[i].setPath(lower[i]), list[i].setMapping(schema::IdMapping::ZONE);
  };
}

// A tree of user 1000, and a job that sees it.
class AgentOverlay : public AgentTest {
 protected:
  AgentOverlay() {
    tree_.directory("sub");
    tree_.write("kept", "host\n");
    tree_.write("sub/edited", "host\n");
    tree_.write("gone", "host\n");
    tree_.write("private", "host\n", 0600);
    for (const char* name : {"", "/sub", "/kept", "/sub/edited", "/gone", "/private"}) give(tree_.path() + name);
    base_.reset(::open(tree_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  static void give(const std::string& path) { ASSERT_EQ(::lchown(path.c_str(), 1000, 1000), 0) << path; }

  Job job(const std::string& script, std::vector<std::string> lower = {}) const {
    Job job = sh("cd /workspace && " + script);
    job.descriptors = {base_.get()};
    job.mounts = {overlay(0, 1000, 1000, std::move(lower))};
    return job;
  }
  static std::string read(int directory, const std::string& name) {
    const UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC));
    return fd ? readAll(fd.get(), name) : "missing";
  }
  void expectUntouched() const {
    EXPECT_EQ(readFile(tree_ / "kept") + readFile(tree_ / "sub/edited") + readFile(tree_ / "gone"), "host\nhost\nhost\n");
    EXPECT_FALSE(std::filesystem::exists(tree_ / "new"));
    EXPECT_FALSE(std::filesystem::exists(tree_ / "sub/new"));
  }

  TempTree tree_;
  UniqueFd base_;
};

TEST_F(AgentOverlay, WritesGoToTheLayerAndTheHostKeepsItsTree) {
  TestZone zone(io_);
  const Ran r = zone.run(job(
      "cat private; stat -c %u:%g kept sub . && echo zone > sub/edited && echo zone > sub/new && rm gone && chmod 600 kept && cat sub/edited"));
  EXPECT_EQ(r.out, "host\n0:0\n0:0\n0:0\nzone\n") << say(r);
  expectUntouched();
  const UniqueFd layer = zone.writableLayer(kTarget);
  EXPECT_EQ(read(layer.get(), "sub/edited") + read(layer.get(), "sub/new"), "zone\nzone\n");
  struct stat st;
  ASSERT_EQ(::fstatat(layer.get(), "gone", &st, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
  ASSERT_EQ(::fstatat(layer.get(), "sub/new", &st, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_EQ(st.st_uid, zone.hostIdBase()) << "raw host ids";
}

TEST_F(AgentOverlay, TheLayerOutlivesTheZone) {
  UniqueFd layer;
  {
    TestZone zone(io_);
    zone.run(job("echo zone > new"));
    layer = zone.writableLayer(kTarget);
  }
  EXPECT_EQ(read(layer.get(), "new"), "zone\n");
}

TEST_F(AgentOverlay, LowerLayersAreSeenInOrder) {
  TempTree first, second;
  first.write("new", "first\n");
  first.write("sub/edited", "first\n");
  second.write("sub/edited", "second\n");
  ASSERT_EQ(::mknod((second / "gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  TestZone zone(io_);
  const Ran r = zone.run(job("cat new sub/edited kept; ls gone 2>&1; echo zone > new", {first.path(), second.path()}));
  EXPECT_THAT(r.out, HasSubstr("first\nsecond\nhost\n")) << say(r);
  EXPECT_THAT(r.out, HasSubstr("No such file"));
  EXPECT_EQ(readFile(first / "new"), "first\n") << "an earlier layer was written";
  EXPECT_EQ(read(zone.writableLayer(kTarget).get(), "new"), "zone\n");
  expectUntouched();
}

TEST_F(AgentOverlay, TheLayerIsAsLargeAsTheScratch) {
  TestZone zone(io_);
  for (const bool disk : {false, true}) {
    Job full = job("dd if=/dev/zero of=big bs=65536 count=4096 2>&1; stat -c %s big");
    full.scratchBytes = 16u << 20;
    full.diskScratch = disk;
    full.emptyRoot = false;
    const Ran r = zone.run(full);
    EXPECT_THAT(r.out, HasSubstr("No space left on device")) << say(r) << " disk " << disk;
    struct stat st;
    ASSERT_EQ(::fstatat(zone.writableLayer(kTarget).get(), "big", &st, 0), 0);
    EXPECT_LE(st.st_size, 16 << 20);
    EXPECT_GE(st.st_size, 8 << 20);
  }
  expectUntouched();
}

TEST_F(AgentOverlay, WritableUnderAReadOnlyRoot) {
  TestZone zone(io_);
  Job readOnly = job("echo zone > new && cat new; touch /outside 2>&1");
  readOnly.readOnlyRoot = true;
  const Ran r = zone.run(readOnly);
  EXPECT_THAT(r.out, HasSubstr("zone\n")) << say(r);
  EXPECT_THAT(r.out, ::testing::AnyOf(HasSubstr("Read-only"), HasSubstr("Permission denied")));
  EXPECT_EQ(read(zone.writableLayer(kTarget).get(), "new"), "zone\n");
}

TEST_F(AgentOverlay, WhatCannotBeMappedIsCopied) {
  // The base lies on an overlay, which the kernel cannot id-map.
  TempTree parts;
  for (const char* name : {"upper", "work", "merged"}) parts.directory(name);
  const std::string options = "lowerdir=" + tree_.path() + ",upperdir=" + (parts / "upper") + ",workdir=" + (parts / "work");
  ASSERT_EQ(::mount("overlay", (parts / "merged").c_str(), "overlay", 0, options.c_str()), 0);
  const Defer unmount([&] { ::umount2((parts / "merged").c_str(), MNT_DETACH); });
  const UniqueFd merged(::open((parts / "merged").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  TestZone zone(io_);
  Job copied = job("cat private; stat -c %u kept; echo zone > sub/edited; rm gone; cat sub/edited");
  copied.descriptors = {merged.get()};
  const Ran r = zone.run(copied);
  EXPECT_EQ(r.out, "host\n0\nzone\n") << say(r);
  EXPECT_THAT(r.notes, Contains(HasSubstr("repository: copied (4 files, 20 bytes)")));
  expectUntouched();
  EXPECT_EQ(read(zone.writableLayer(kTarget).get(), "sub/edited"), "zone\n");
  tree_.write("large", std::string(20 << 20, 'x'));
  copied.scratchBytes = 16u << 20;
  const Ran refused = zone.run(copied);
  ASSERT_TRUE(refused.error) << say(refused);
  EXPECT_EQ(refused.error->code(), Code::limit);
  EXPECT_THAT(refused.error->text(), HasSubstr("does not fit"));
}

TEST_F(AgentOverlay, RefusesWhatIsNoOverlay) {
  TestZone zone(io_);
  const auto code = [&](const std::function<void(schema::Mount::Builder)>& change) {
    Job wrong = job("true");
    wrong.mounts = {[&](schema::Mount::Builder m) {
      overlay(0)(m);
      change(m);
    }};
    const Ran r = zone.run(wrong);
    return r.error ? r.error->code() : Code::none;
  };
  EXPECT_EQ(code([](auto m) { m.setReadOnly(true); }), Code::invalid);
  EXPECT_EQ(code([](auto m) { m.setTmpfs(4096); }), Code::invalid);
  EXPECT_EQ(code([](auto m) { m.initLower(17); }), Code::invalid);
  EXPECT_EQ(code([](auto m) { m.initLower(1)[0].setDescriptor(7); }), Code::invalid);
  const UniqueFd file(::open((tree_ / "kept").c_str(), O_PATH | O_CLOEXEC));
  Job notADirectory = job("true");
  notADirectory.descriptors = {file.get()};
  EXPECT_EQ(zone.run(notADirectory).error.value().code(), Code::invalid);
  EXPECT_THROW(zone.writableLayer("/elsewhere"), Error);
}

}  // namespace
}  // namespace rauha::testing
