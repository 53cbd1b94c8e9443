// The root of a container: layers, mounts, masks, and images that try to lead the agent astray. Needs root.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "plugins/backend-linux/shim/testing/agent_fixture.h"

namespace rauha::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class AgentRoot : public AgentTest {
 protected:
  std::string ownerOf(const std::string& path) {
    struct stat st;
    if (::lstat(path.c_str(), &st) != 0) return "missing";
    return std::to_string(st.st_uid) + ":" + std::to_string(st.st_gid);
  }
};

TEST_F(AgentRoot, UpperLayersWinAndWhiteoutsHide) {
  TempTree middle, top;
  middle.write("etc/which", "middle\n");
  middle.write("etc/gone", "still here\n");
  top.write("etc/which", "top\n");
  ASSERT_EQ(::mknod((top / "etc/gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  TestZone zone(io_);
  Job job = sh("cat /etc/which; ls /etc/gone 2>&1; ls /etc/passwd");
  job.layers = {busyboxLayer(), middle.path(), top.path()};
  const Ran r = zone.run(job);
  EXPECT_THAT(r.out, HasSubstr("top\n")) << say(r);
  EXPECT_THAT(r.out, HasSubstr("No such file"));
  EXPECT_THAT(r.out, HasSubstr("/etc/passwd"));
  EXPECT_EQ(readFile(middle / "etc/gone"), "still here\n");
}

TEST_F(AgentRoot, LayersAreMappedToTheZone) {
  TempTree top;
  top.write("mine", "x");
  top.write("alices", "x");
  ASSERT_EQ(::chown((top / "alices").c_str(), 1000, 998), 0);
  TestZone zone(io_);
  Job job = sh("stat -c '%u:%g' /mine /alices /bin/busybox; echo new > /mine; touch /fresh; stat -c '%u' /fresh");
  job.layers = {busyboxLayer(), top.path()};
  EXPECT_EQ(zone.run(job).out, "0:0\n1000:998\n0:0\n0\n");
  EXPECT_EQ(readFile(top / "mine"), "x") << "a layer was written";
  EXPECT_FALSE(std::filesystem::exists(top / "fresh"));
}

TEST_F(AgentRoot, ManyLayersFitAndTooManyAreRefused) {
  TempTree tree;
  Job job = sh("ls -d /d0 /d126");
  job.layers = {busyboxLayer()};
  for (int i = 0; i < 127; ++i) {
    tree.directory("l" + std::to_string(i) + "/d" + std::to_string(i));
    job.layers.push_back(tree / ("l" + std::to_string(i)));
  }
  TestZone zone(io_);
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "/d0\n/d126\n") << say(r);
  job.layers.push_back(tree / "l0");
  const Ran refused = zone.run(job);
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->code(), Code::limit);
  EXPECT_THAT(refused.error->text(), HasSubstr("129 layers"));
}

TEST_F(AgentRoot, MountsAreLocked) {
  // Even with CAP_SYS_ADMIN in its own user namespace, the system calls allowed, and no Landlock, which forbids mounting by itself.
  ZoneOptions options;
  options.landlock = false;
  options.capabilities.push_back(21);
  options.allow = {"mount", "umount2"};
  TempTree outside;
  outside.write("canary", "host");
  TestZone zone(io_, options);
  Job job = sh(
      "mkdir /m; mount -t tmpfs none /m && umount /m && echo control;"
      "for p in /proc /sys /dev /outside /proc/interrupts /proc/sys /; do umount $p 2>/dev/null && echo unmounted $p; umount -l $p 2>/dev/null && echo detached $p; done;"
      "for p in /outside /sys /proc/sys; do mount -o remount,rw,bind $p 2>/dev/null && echo writable $p; done;"
      "mount -o remount,dev,suid,bind / 2>/dev/null && echo loosened; echo evil 2>/dev/null > /outside/canary; wc -c < /proc/interrupts; cat /outside/canary");
  job.mounts = {bindPath(outside.path(), "/outside")};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "control\n0\nhost") << say(r);
  EXPECT_EQ(readFile(outside / "canary"), "host");
}

TEST_F(AgentRoot, HostRootIsNotInTheMountNamespace) {
  TestZone zone(io_);
  const Ran r = zone.run(sh("cat /proc/self/mountinfo; ls /.. "));
  EXPECT_THAT(r.out, Not(HasSubstr("ext4"))) << r.out;
  EXPECT_THAT(r.out, Not(HasSubstr(busyboxLayer()))) << "paths of the host are shown";
  EXPECT_THAT(r.out, Not(HasSubstr("/sys/fs/cgroup/unified")));
  // A join through the namespace lands in the container's root, not under it.
  Live main = zone.create(sh("echo up; sleep 60"));
  ASSERT_FALSE(zone.start(main));
  Live further = zone.exec(sh("cat /proc/self/mountinfo | head -n1"));
  ASSERT_FALSE(further.error);
  ASSERT_FALSE(zone.start(further));
  EXPECT_THAT(zone.wait(further).out, HasSubstr(" / / rw,nosuid,nodev"));
}

TEST_F(AgentRoot, KernelFilesAreMaskedOrReadOnly) {
  TestZone zone(io_);
  const Ran r = zone.run(sh(
      "for f in kcore keys timer_list interrupts kallsyms iomem cmdline modules; do [ -e /proc/$f ] && wc -c < /proc/$f; done | sort -u;"
      "ls /sys/firmware /sys/module | grep -v : | wc -w; echo 1 2>/dev/null > /proc/sys/kernel/hostname || echo ro; echo b 2>/dev/null > /proc/sysrq-trigger || echo ro;"
      "cat /proc/sys/kernel/random/boot_id; touch /sys/x 2>/dev/null || echo ro"));
  EXPECT_THAT(r.out, ::testing::MatchesRegex("0\n\\s*0\nro\nro\n[0-9a-f-]+\nro\n")) << say(r);
  EXPECT_THAT(r.out, Not(HasSubstr(readFile("/proc/sys/kernel/random/boot_id"))));
}

TEST_F(AgentRoot, PlansOwnMasksAndReadOnlyPathsHold) {
  TempTree top;
  top.write("secret/key", "k");
  top.write("keep/file", "f");
  TestZone zone(io_);
  Job job = sh("ls /secret | wc -l; wc -c < /etc/group; echo x 2>/dev/null > /keep/file; cat /keep/file");
  job.layers = {busyboxLayer(), top.path()};
  job.masked = {"/secret", "/etc/group", "/not/there"};
  job.readOnly = {"/keep"};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "0\n0\nf") << say(r);
}

TEST_F(AgentRoot, ReadOnlyRootKeepsItsWritablePlaces) {
  TestZone zone(io_);
  TempTree work;
  work.directory(".", 0777);
  Job job = sh(
      "touch /x 2>&1; touch /bin/x 2>&1; touch /tmp/ok /dev/shm/ok /work/ok && echo written; echo 5 > /proc/self/oom_score_adj && echo proc; echo a > /dev/null && echo "
      "null; mkdir /new 2>&1");
  job.readOnlyRoot = true;
  job.mounts = {bindPath(work.path(), "/work", false)};
  const Ran r = zone.run(job);
  EXPECT_THAT(r.out, HasSubstr("written\nproc\nnull\n")) << say(r);
  EXPECT_THAT(r.out, HasSubstr("touch: /x: "));
  EXPECT_THAT(r.out, HasSubstr("touch: /bin/x: "));
  EXPECT_FALSE(std::filesystem::exists(busyboxLayer() + "/bin/x"));
}

TEST_F(AgentRoot, ScratchIsBounded) {
  TestZone zone(io_);
  Job job = sh(
      "dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -o 'No space'; stat -c %s /big; dd if=/dev/zero of=/tmp/big bs=1M count=64 2>&1 | grep -o 'No space'");
  job.scratchBytes = 8u << 20;
  job.tmpBytes = 4u << 20;
  const Ran r = zone.run(job);
  EXPECT_THAT(r.out, ::testing::MatchesRegex("No space\n[0-9]+\nNo space\n")) << say(r);
}

TEST_F(AgentRoot, FilesAreBoundedToo) {
  TestZone zone(io_);
  Job job = sh("i=0; while echo -n > /tmp/f$i; do i=$((i+1)); [ $i -gt 5000 ] && break; done 2>/dev/null; echo $i");
  job.tmpBytes = 1u << 20;
  const Ran r = zone.run(job);
  EXPECT_LT(std::stoi("0" + r.out), 2000) << say(r);
  EXPECT_GT(std::stoi("0" + r.out), 100);
}

TEST_F(AgentRoot, DiskScratchIsBoundedAndLeavesNothing) {
  TempTree scratch;
  {
    TestZone zone(io_);
    Job job = sh(
        "dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -o 'No space'; df / | tail -n1 | grep -c overlay; rm /big; touch /f && stat -c %u /f");
    job.diskScratch = true;
    job.scratchDirectory = scratch.path();
    job.scratchBytes = 32u << 20;
    const Ran r = zone.run(job);
    if (r.error && r.error->code() == Code::unsupported) GTEST_SKIP() << r.error->text();
    EXPECT_EQ(r.out, "No space\n1\n0\n") << say(r);
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block")) {
    std::error_code none;
    const auto backing = entry.path() / "loop/backing_file";
    if (!std::filesystem::exists(backing, none)) continue;
    EXPECT_THAT(readFile(backing), Not(HasSubstr(scratch.path())));
  }
}

TEST_F(AgentRoot, EmptyRootIsMadeOfTheMachinesPrograms) {
  TestZone zone(io_);
  Job job = sh(
      "id -u; cat /etc/motd; ls /; readlink /lib-link; stat -c %a /made; stat -c %u:%g /host; touch /host/x 2>&1; cat /host/private 2>&1");
  job.emptyRoot = true;
  TempTree host;
  host.write("private", "root's own", 0600);
  job.mounts = {bindPath(busyboxLayer() + "/bin", "/bin"),
                bindPath(host.path(), "/host"),
                file("/etc/motd", "welcome\n"),
                [](schema::Mount::Builder m) {
                  m.setTarget("/lib-link");
                  m.setSymlink("usr/lib");
                },
                [](schema::Mount::Builder m) {
                  m.setTarget("/made");
                  m.setDirectory(0750);
                },
                [](schema::Mount::Builder m) {
                  m.setTarget("/opt");
                  m.setBindPath("/no/such/directory");
                  m.setOptional(true);
                }};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.exited, 1) << say(r);
  EXPECT_THAT(r.out, HasSubstr("0\nwelcome\nbin\ndev\netc\nhost\nlib-link\nmade\nproc\nsys\ntmp\nusr/lib\n750\n65534:65534\n"));
  EXPECT_THAT(r.out, HasSubstr("touch: /host/x: Read-only file system"));
  EXPECT_THAT(r.out, HasSubstr("'/host/private': Permission denied")) << "what only the host's root may read stays closed";
}

TEST_F(AgentRoot, MissingBindIsAnError) {
  TestZone zone(io_);
  Job job = sh("true");
  job.mounts = {bindPath("/no/such/directory", "/x")};
  const Ran r = zone.run(job);
  ASSERT_TRUE(r.error);
  EXPECT_EQ(r.error->code(), Code::notFound);
  EXPECT_THAT(r.error->text(), HasSubstr("/no/such/directory at /x"));
}

TEST_F(AgentRoot, WritableRepositoryBelongsToTheCaller) {
  TempTree repo;
  repo.write("theirs", "1");
  repo.write("roots", "1", 0644);
  ASSERT_EQ(::chown(repo.path().c_str(), 1234, 1235), 0);
  ASSERT_EQ(::chown((repo / "theirs").c_str(), 1234, 1235), 0);
  const UniqueFd fd(::open(repo.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  TestZone zone(io_);
  for (const std::string user : {"", "alice"}) {
    Job job = sh(
        "stat -c '%u %g' . theirs roots; echo 2 > theirs; touch made; echo evil 2>&1 > roots; chmod u+s made 2>&1; chmod 0644 made && echo chmod; mkdir -m 2755 d 2>&1");
    job.user = user;
    job.workdir = "/workspace";
    job.descriptors = {fd.get()};
    job.mounts = {repository(0, "/workspace", false, 1234, 1235)};
    const Ran r = zone.run(job);
    const std::string id = user.empty() ? "0 0\n" : "1000 1000\n";
    EXPECT_THAT(r.out, HasSubstr(id + id + "65534 65534\n")) << say(r);
    EXPECT_THAT(r.out, HasSubstr("chmod: made: Operation not permitted"));
    EXPECT_THAT(r.out, HasSubstr("chmod\n"));
    EXPECT_EQ(readFile(repo / "theirs"), "2\n");
    EXPECT_EQ(ownerOf(repo / "made"), "1234:1235");
    EXPECT_EQ(readFile(repo / "roots"), "1") << "another id's file was written";
    struct stat st;
    ASSERT_EQ(::stat((repo / "made").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 06000, 0u);
    ::unlink((repo / "made").c_str());
  }
}

TEST_F(AgentRoot, ReadOnlyRepositoryIsReadOnly) {
  TempTree repo;
  repo.write("f", "1");
  const UniqueFd fd(::open(repo.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  TestZone zone(io_);
  Job job = sh("cat f; touch x 2>&1; echo 2 2>/dev/null > f");
  job.workdir = "/workspace";
  job.descriptors = {fd.get()};
  job.mounts = {repository(0, "/workspace", true, 0, 0)};
  const Ran r = zone.run(job);
  EXPECT_EQ(r.out, "1touch: x: Read-only file system\n") << say(r);
  EXPECT_EQ(readFile(repo / "f"), "1");
}

TEST_F(AgentRoot, WritableRepositoryNeedsTheFilter) {
  ZoneOptions options;
  options.noSuid = false;
  TempTree repo;
  TestZone zone(io_, options);
  Job job = sh("true");
  job.mounts = {bindPath(repo.path(), "/workspace", false)};
  const Ran r = zone.run(job);
  ASSERT_TRUE(r.error);
  EXPECT_EQ(r.error->code(), Code::denied);
}

// Images whose directories are links to where the agent works. The canary is what must not change.
class HostileImage : public AgentRoot {
 protected:
  TempTree image_, canary_{"/var/tmp"};
  Ran runWith(Job job) {
    job.layers = {busyboxLayer(), image_.path()};
    TestZone zone(io_);
    return zone.run(job);
  }
  std::string everythingIn(const TempTree& tree) {
    std::string all;
    for (const auto& e : std::filesystem::recursive_directory_iterator(tree.path())) all += e.path().filename().string() + " ";
    return all;
  }
};

TEST_F(HostileImage, LinkedKernelDirectoriesAreRefused) {
  for (const std::string name : {"proc", "sys", "dev"}) {
    TempTree image;
    image.link(name, canary_.path());
    TestZone zone(io_);
    Job job = sh("true");
    job.layers = {busyboxLayer(), image.path()};
    const Ran r = zone.run(job);
    ASSERT_TRUE(r.error) << name;
    EXPECT_EQ(r.error->code(), Code::denied);
    EXPECT_THAT(r.error->text(), HasSubstr("/" + name + " of the image is a symbolic link"));
  }
  EXPECT_EQ(everythingIn(canary_), "");
}

TEST_F(HostileImage, LinkedTargetsStayInTheRoot) {
  image_.link("workspace", canary_.path());
  image_.link("tmp-link", "../../../../" + canary_.path());
  image_.directory(canary_.path().substr(1));  // exists in the image too: the link leads there, beneath the root
  TempTree repo;
  repo.write("inside", "repo");
  Job job = sh("cat " + canary_.path() + "/inside; cat /workspace/inside; ls /tmp-link");
  job.mounts = {bindPath(repo.path(), "/workspace")};
  const Ran r = runWith(job);
  EXPECT_EQ(r.out, "reporepoinside\n") << say(r);
  EXPECT_EQ(everythingIn(canary_), "");
}

TEST_F(HostileImage, FilesAreNotWrittenThroughLinksIntoTheRepository) {
  image_.link("opt", "/workspace");
  image_.link("srv", "workspace/deep/down");
  TempTree repo;
  Job job = sh("true");
  job.mounts = {bindPath(repo.path(), "/workspace", false), file("/opt/evil", "written by the agent")};
  const Ran r = runWith(job);
  ASSERT_TRUE(r.error) << say(r);
  EXPECT_EQ(r.error->code(), Code::denied);
  EXPECT_THAT(r.error->text(), HasSubstr("/opt/evil would be created outside the zone's own file systems"));
  job.mounts = {bindPath(repo.path(), "/workspace", false), bindPath(canary_.path(), "/opt/a/b")};
  EXPECT_TRUE(runWith(job).error);
  job.mounts = {bindPath(repo.path(), "/workspace", false)};
  job.workdir = "/opt/made";
  EXPECT_TRUE(runWith(job).error);
  EXPECT_EQ(everythingIn(repo), "");
}

TEST_F(HostileImage, ExistingNamesAreReplacedNotFollowed) {
  image_.directory("etc");
  image_.link("etc/resolv.conf", "/proc/self/root" + (canary_ / "target"));
  canary_.write("target", "untouched");
  image_.link("etc/hosts", "/bin/busybox");
  Job job = sh("cat /etc/resolv.conf /etc/hosts; ls -l /bin/busybox | wc -l");
  job.mounts = {file("/etc/resolv.conf", "fresh\n"), file("/etc/hosts", "hosts\n")};
  const Ran r = runWith(job);
  EXPECT_EQ(r.out, "fresh\nhosts\n1\n") << say(r);
  EXPECT_EQ(readFile(canary_ / "target"), "untouched");
}

TEST_F(HostileImage, AccountFilesThatAreTrapsDoNotHangOrLeak) {
  ASSERT_EQ(::mkdir((image_ / "etc").c_str(), 0755), 0);
  ASSERT_EQ(::mkfifo((image_ / "etc/passwd").c_str(), 0644), 0);
  Job job = sh("id -u");
  job.user = "alice";
  Ran r = runWith(job);
  ASSERT_TRUE(r.error);
  EXPECT_THAT(r.error->text(), HasSubstr("is not a regular file"));
  ::unlink((image_ / "etc/passwd").c_str());
  image_.link("etc/passwd", "/proc/self/root/etc/passwd");
  job.user = "daemon";  // exists on the host
  r = runWith(job);
  ASSERT_TRUE(r.error) << say(r);
  ::unlink((image_ / "etc/passwd").c_str());
  image_.write("etc/passwd", std::string(2 << 20, 'x'));
  r = runWith(job);
  ASSERT_TRUE(r.error);
  EXPECT_EQ(r.error->code(), Code::limit);
}

TEST_F(AgentRoot, DevicesAreFewAndBounded) {
  TestZone zone(io_);
  Job job = sh(
      "ls /dev; mknod /tmp/sda b 8 0 2>&1; mknod /dev/kmsg c 1 11 2>&1; head -c 1 /dev/fuse 2>&1; echo x 2>/dev/null > /dev/fuse || echo 'not written'; stat -c %t:%T /dev/fuse");
  job.devices = {{"/dev/fuse", "r"}};
  const Ran r = zone.run(job);
  if (r.error && r.error->code() == Code::notFound) GTEST_SKIP() << "this machine has no /dev/fuse";
  EXPECT_THAT(r.out, HasSubstr("fd\nfull\nfuse\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"))
      << say(r);
  EXPECT_THAT(r.out, ::testing::ContainsRegex("mknod: /tmp/sda: (Operation not permitted|Permission denied)"));
  EXPECT_THAT(r.out, ::testing::ContainsRegex("mknod: /dev/kmsg: (Operation not permitted|Permission denied)"));
  EXPECT_THAT(r.out, HasSubstr("not written\na:e5\n"));
}

TEST_F(AgentRoot, DeviceNodesOfAnImageAreDead) {
  TempTree image;
  image.directory("d");
  ASSERT_EQ(::mknod((image / "d/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  ASSERT_EQ(::chmod((image / "d/zero").c_str(), 0666), 0);
  TestZone zone(io_);
  Job job = sh("head -c 4 /d/zero 2>&1");
  job.layers = {busyboxLayer(), image.path()};
  EXPECT_THAT(zone.run(job).out, HasSubstr("Permission denied"));
}

}  // namespace
}  // namespace rauha::testing
